package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/oic"
)

// demoRule is the rule of the simulated home: the door opens, the lamp goes on.
const demoRule = `
name: lamp-at-the-door
when:
  event: {device: door, href: /a/door, if: event.open}
then:
- command: {device: lamp, href: /a/light, set: {value: true}}
`

// addDemoRule makes the rule of the simulated home at its first start. Who
// removes it is rid of it.
func (b *booted) addDemoRule(ctx context.Context) error {
	file := b.file(filepath.Join("demo", "rule"))
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := rule.Parse([]byte(demoRule))
	if err != nil {
		return err
	}
	if _, err := b.cloud.AddRule(ctx, owner, *d); err != nil {
		if status, _ := oic.StatusOf(err); status != oic.Conflict {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return kept.Write(file, []byte(demoRule), 0o600)
}
