package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

// shared is what a command is told of a key that a device shares with who asks it.
type shared struct{ file, identity string }

// flags adds the flags of a client command.
func (s *shared) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "psk-file", "", "`file` with the key that a coaps:// target shares, as text or 0x and hex (or FARREACH_PSK)")
	cmd.Flags().StringVar(&s.identity, "psk-identity", "", "`name` under which it knows us by that key; uuid:… is sent as 16 bytes, as OCF devices do")
}

// defaultOwner is what the owner of a device is called.
const defaultOwner = "owner"

// ownerFlags adds those of a device.
func (s *shared) ownerFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "psk-file", "", "`file` with the key of the owner, as text or 0x and hex (or FARREACH_PSK): with --lan, all but discovery is for who has it, at coaps://")
	cmd.Flags().StringVar(&s.identity, "psk-identity", defaultOwner, "`name` under which the owner has that key; uuid:… is 16 bytes, as with OCF devices")
}

// sharedKey is the key: of the environment, else of the flag; none if there is
// none. Only a coaps:// target takes one.
func (a *app) sharedKey(s shared, t reach.Target) (k reach.SharedKey, err error) {
	coaps := strings.HasPrefix(t.URI, "coaps://")
	switch {
	case s.file != "" && !coaps:
		return k, misuse("a coaps:// target", "--psk-file: %s does not take a shared key", t)
	case !coaps:
		return k, nil
	}
	return a.key(s)
}

// key is the key of the environment, else of the flag; none if there is none.
func (a *app) key(s shared) (k reach.SharedKey, err error) {
	text, ok := a.lookup("FARREACH_PSK")
	switch {
	case ok && text != "":
	case s.file == "":
		return k, nil
	default:
		if text, err = settings.ReadSecret(s.file); err != nil {
			return k, fail(exitConfig, "another --psk-file", "shared key: %w", err)
		}
	}
	if s.identity == "" {
		return k, misuse("--psk-identity NAME", "a shared key needs the name under which the other end knows it")
	}
	if k.Identity = identityOf(s.identity); k.Identity == nil {
		return k, misuse("--psk-identity uuid:0685b960-736f-46f7-bec0-9e6cbd61adc1", "%q is no UUID", strings.TrimPrefix(s.identity, "uuid:"))
	}
	k.Key = secret.String(text)
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) == 0 {
			return k, fail(exitConfig, "0x and an even number of hex digits", "shared key: it is not hex") // and not shown
		}
		k.Key = secret.String(b)
	}
	return k, nil
}

// identityOf is the name of a key as it is sent; nil for what begins with uuid:
// and is no UUID.
func identityOf(name string) []byte {
	text, ok := strings.CutPrefix(name, "uuid:")
	if !ok {
		return []byte(name)
	}
	u, err := uuid.Parse(text)
	if err != nil {
		return nil
	}
	return u[:]
}

// ownerKey is the key by which the owner of a device proves near it who he is.
type ownerKey reach.SharedKey

func (k ownerKey) known() bool { return k.Key != "" }

// psk is that of a dtls.Config.
func (k ownerKey) psk(identity []byte) ([]byte, error) {
	if !bytes.Equal(identity, k.Identity) {
		return nil, errors.New("nobody with a key is called so")
	}
	return []byte(k.Key.Reveal()), nil
}

// prove is who a peer has proved to be.
func (k ownerKey) prove(s *coap.Security) oic.Identity {
	if s == nil || !k.known() || !bytes.Equal(s.PSKIdentity, k.Identity) {
		return oic.Identity{}
	}
	who := oic.Identity{Owner: true, Credential: "psk"}
	if u, err := uuid.FromBytes(k.Identity); err == nil {
		who.Device = u.String()
	}
	return who
}
