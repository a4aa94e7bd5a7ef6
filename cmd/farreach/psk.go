package main

import (
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/reach"
)

// shared is what a client command is told of a key that it shares with a device.
type shared struct{ file, identity string }

func (s *shared) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "psk-file", "", "`file` with the key that a coaps:// target shares, as text or 0x and hex (or FARREACH_PSK)")
	cmd.Flags().StringVar(&s.identity, "psk-identity", "", "`name` under which it knows us by that key; uuid:… is sent as 16 bytes, as OCF devices do")
}

// sharedKey is the key: of the environment, else of the flag; none if there is
// none. Only a coaps:// target takes one.
func (a *app) sharedKey(s shared, t reach.Target) (k reach.SharedKey, err error) {
	coaps := strings.HasPrefix(t.URI, "coaps://")
	text, ok := a.lookup("FARREACH_PSK")
	switch {
	case s.file != "" && !coaps:
		return k, misuse("a coaps:// target", "--psk-file: %s does not take a shared key", t)
	case !coaps || (!ok || text == "") && s.file == "":
		return k, nil
	case !ok || text == "":
		if text, err = settings.ReadSecret(s.file); err != nil {
			return k, fail(exitConfig, "another --psk-file", "shared key: %w", err)
		}
	}
	if s.identity == "" {
		return k, misuse("--psk-identity NAME", "a shared key needs the name under which the other end knows it")
	}
	k.Identity = []byte(s.identity)
	if id, ok := strings.CutPrefix(s.identity, "uuid:"); ok {
		u, err := uuid.Parse(id)
		if err != nil {
			return k, misuse("--psk-identity uuid:0685b960-736f-46f7-bec0-9e6cbd61adc1", "%q is no UUID", id)
		}
		k.Identity = u[:]
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
