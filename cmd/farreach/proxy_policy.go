package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xcproxy"
)

// allowed says what the proxy shows.
type allowed struct {
	all, readOnly []string
	file          string
}

func (p *allowed) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&p.all, "allow", nil, "`what` is shown: a device id, a type of devices or of resources, a path, or all; may be repeated")
	flags.StringSliceVar(&p.readOnly, "allow-read", nil, "`what` is shown, and can be read and observed only; as --allow")
	flags.StringVar(&p.file, "policy", "", "`file` with rules that say what is shown, beside --allow")
}

// policy is all that is allowed now.
func (p *allowed) policy() (xcproxy.Policy, error) {
	if len(p.all)+len(p.readOnly) == 0 && p.file == "" {
		return nil, misuse("--allow all, or --allow oic.d.light", "nothing is shown that is not allowed")
	}
	var policy xcproxy.Policy
	for _, text := range p.all {
		policy = append(policy, ruleOf(text, false))
	}
	for _, text := range p.readOnly {
		policy = append(policy, ruleOf(text, true))
	}
	if p.file == "" {
		return policy, nil
	}
	var more xcproxy.Policy
	if err := readJSON(p.file, &more); err != nil {
		return nil, fail(exitConfig, "another --policy", "policy: %w", err)
	}
	return append(policy, more...), nil
}

func ruleOf(text string, readOnly bool) xcproxy.Rule {
	r := xcproxy.Rule{ReadOnly: readOnly}
	_, err := uuid.Parse(text)
	switch {
	case text == "all":
	case err == nil && len(text) == 36:
		r.Device = text
	case strings.HasPrefix(text, "/"):
		r.Href = text
	default:
		r.Type = text
	}
	return r
}

// follow gives the proxy what the file says whenever it changes, until ctx ends.
// A file that cannot be read changes nothing (threats rule 3).
func (p *allowed) follow(ctx context.Context, a *app, proxy *xcproxy.Proxy) error {
	if p.file == "" {
		return nil
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last, _ := os.ReadFile(p.file)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now, err := os.ReadFile(p.file)
		if err == nil && bytes.Equal(now, last) || err != nil && last == nil {
			continue
		}
		last = now
		policy, err := p.policy()
		if err == nil {
			err = proxy.SetPolicy(policy)
		}
		if err != nil {
			a.say("%s: what was allowed before stays: %s", p.file, oneLine(err))
			continue
		}
		a.say("%s: %d rules", p.file, len(policy))
	}
}

// readJSON reads a file that has one document, and no member that is not known.
func readJSON(file string, v any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one document", file)
	}
	return nil
}

// groupsNone has nobody asked by multicast.
var groupsNone = []netip.AddrPort{}

// placed is a device at one place: where it is elsewhere, it is another one.
type placed struct {
	oic.Observer
	at string
}
