package main

import (
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
)

func (a *app) getCmd() *cobra.Command {
	return a.requestCmd(&cobra.Command{
		Use:   "get TARGET",
		Short: "Read a resource",
		Long: `Reads a resource and writes its representation as JSON.

TARGET is NAME/HREF, the beginning of a device's id in place of its name, or
ocf://ID/HREF, whichever way leads to the device: through the cloud, or over the
XMPP account. It may say the way: an endpoint on XMPP, as discover --json shows it,
xmpp:ann@home.example/…?oic;href=…; or a server to ask straight, without any
other: coap://HOST/PATH, coap+tcp:// or coap+ws://; coaps://, coaps+tcp:// or
coaps+ws:// where it is to be secure. Without HREF it is the list of all resources.`,
		Example: `  farreach get lamp/a/light
  farreach get lamp/oic/d --json
  farreach get lamp/a/light --xmpp ann@home.example --password-file pw
  farreach get coap://192.0.2.7/oic/res
  farreach get coaps://192.0.2.7/a/light --psk-file key --psk-identity phone`,
		Args: takes("a target such as lamp/a/light"),
	}, oic.Retrieve)
}
