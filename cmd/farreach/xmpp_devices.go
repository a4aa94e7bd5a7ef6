package main

import (
	"context"
	"net"
	"strings"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rabridge"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// openBridge makes what has devices that are on XMPP alone take part in the cloud,
// if they are to. b.xmpp is there.
func (b *booted) openBridge() (err error) {
	if !b.cfg.xmppDevices || b.xmpp == nil {
		return nil
	}
	b.inside = b.xmpp.Inside()
	b.bridge, err = rabridge.New(rabridge.Config{
		Cloud: counted{b.cloud, b.metrics.Backend(b.cloud)}, Login: b.resident, Seen: b.xmpp.Seen, OnChange: b.partakes, Log: b.log,
	})
	return err
}

// came is told when somebody comes to the XMPP server, or goes.
func (b *booted) came(j jid.JID) {
	if b.bridge != nil {
		b.bridge.Presence(j)
	}
}

// partakes is told when a device that is on XMPP alone begins to take part in the
// cloud, and when it does no more.
func (b *booted) partakes(di string, here bool) {
	if tell := b.partaking.Load(); tell != nil {
		(*tell)(di, here)
	}
}

// resident is how a part of this process is on its XMPP server as an account: as a
// client, and nobody's password is needed.
func (b *booted) resident(name string) xmpp.Config {
	account, _ := jid.New(name, b.cfg.xmppDomain(), "") // zero, which rae refuses, if name is none
	client := func(resource string) bool { return strings.HasPrefix(resource, "OIC/1.0/Client/") }
	return xmpp.Config{
		JID: account, Addr: "this process", Inside: true, NoResume: true, KeepAlive: -1, Backoff: here, Log: b.log,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return b.inside.Dial(ctx, name, b.cloud.Resident(name, client))
		},
	}
}

// counted is the cloud, whose events are counted.
type counted struct {
	*cloud.Cloud
	by cloudlink.Backend
}

func (c counted) Report(ctx context.Context, who oic.Identity, reports []cloudlink.Report) []error {
	return c.by.Report(ctx, who, reports)
}
