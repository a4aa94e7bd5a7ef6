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
	b, err := os.ReadFile(p.file)
	if err != nil {
		return nil, fail(exitConfig, "another --policy", "policy: %w", err)
	}
	more, err := parsePolicy(p.file, b)
	if err != nil {
		return nil, fail(exitConfig, "another --policy", "policy: %w", err)
	}
	return append(policy, more...), nil
}

// parsePolicy reads the rules in a file. No rule is made of what is none: one that
// names nothing allows everything.
func parsePolicy(file string, b []byte) (xcproxy.Policy, error) {
	var rules []*xcproxy.Rule
	if err := parseJSON(file, b, &rules); err != nil {
		return nil, err
	}
	policy := make(xcproxy.Policy, len(rules))
	for i, r := range rules {
		if r == nil {
			return nil, fmt.Errorf("%s: rule %d is null", file, i+1)
		}
		policy[i] = *r
	}
	return policy, nil
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
	return parseJSON(file, b, v)
}

// parseJSON is readJSON of what is in the file. The error says in which line it is
// wrong.
func parseJSON(file string, b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s:%d: %w", file, lineOf(b, err), err)
	}
	at := d.InputOffset()
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:%d: more than one document", file, lineAt(b, at))
	}
	return nil
}

// lineOf is in which line of b something is wrong.
func lineOf(b []byte, err error) int {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return lineAt(b, e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return lineAt(b, e.Offset)
	}
	if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
		if i := bytes.Index(b, []byte(name)); i >= 0 {
			return lineAt(b, int64(i))
		}
	}
	return lineAt(b, int64(len(b))) // it ends too early
}

func lineAt(b []byte, offset int64) int {
	return 1 + bytes.Count(b[:max(0, min(offset, int64(len(b))))], []byte("\n"))
}

// groupsNone has nobody asked by multicast.
var groupsNone = []netip.AddrPort{}

// placed is a device at one place: where it is elsewhere, it is another one.
type placed struct {
	oic.Observer
	at string
}
