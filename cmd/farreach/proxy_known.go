package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/farreach/farreach/lan"
)

// known is what --describe and --credentials say now.
func (n *proxyNet) known() (k lan.Known, err error) {
	if n.described != "" {
		if err := readJSON(n.described, &k.Described); err != nil {
			return k, fail(exitConfig, "another --describe", "%w", err)
		}
	}
	if n.credentials != "" {
		if k.Credentials, err = lan.LoadCredentials(n.credentials); err != nil {
			return k, fail(exitConfig, "another --credentials", "%w", err)
		}
	}
	if err := k.Check(); err != nil {
		return k, fail(exitConfig, "another --describe", "%s: %w", n.described, err)
	}
	return k, nil
}

// follow passes on what --describe and --credentials say whenever their files
// change, until ctx ends. Files that cannot be read, or are no such files, change
// nothing.
func (n *proxyNet) follow(ctx context.Context, a *app, known chan<- lan.Known) error {
	if n.described == "" && n.credentials == "" {
		return nil
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := n.stamp()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now := n.stamp()
		if now == last {
			continue
		}
		last = now
		what := strings.Join(nonEmpty(n.described, n.credentials), ", ")
		k, err := n.known()
		if err != nil {
			a.say("%s: what was known before stays: %s", what, oneLine(err))
			continue
		}
		select {
		case known <- k:
		case <-ctx.Done():
			return ctx.Err()
		}
		a.say("%s: %d descriptions, credentials of %d devices", what, len(k.Described), len(k.Credentials))
	}
}

// stamp is another one when a file has changed.
func (n *proxyNet) stamp() string {
	files := nonEmpty(n.described)
	if n.credentials != "" {
		beside, _ := filepath.Glob(filepath.Join(n.credentials, "*")) // the pattern is well-formed
		files = append(files, beside...)
	}
	var stamp strings.Builder
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintln(&stamp, f, info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
	}
	return stamp.String()
}

func nonEmpty(texts ...string) (list []string) {
	for _, t := range texts {
		if t != "" {
			list = append(list, t)
		}
	}
	return list
}
