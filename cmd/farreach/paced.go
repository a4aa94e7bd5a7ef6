package main

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"
)

// maxLines is how many lines of the log are written in a second (threats.md,
// section 3.4): who makes us complain must not fill the disk.
const maxLines = 1000

// paced is a log that writes maxLines in a second and leaves out the rest of
// them. Before the first line of a later second it says how many those were.
type paced struct {
	slog.Handler
	pace *pace
}

// pace is what all loggers made of one paced share.
type pace struct {
	plain slog.Handler // without what With added

	mu     sync.Mutex // guards what follows
	second time.Time
	lines  int // written in it
	left   int // left out, and not told yet
}

func newPaced(h slog.Handler) slog.Handler { return paced{h, &pace{plain: h}} }

func (p paced) Handle(ctx context.Context, r slog.Record) error {
	left, ok := p.pace.take(cmp.Or(r.Time, time.Now()))
	if !ok {
		return nil
	}
	if left > 0 {
		told := slog.NewRecord(r.Time, slog.LevelWarn, "too many lines in a second; some were left out", 0)
		told.AddAttrs(slog.Int("lines", left))
		if err := p.pace.plain.Handle(ctx, told); err != nil {
			return err
		}
	}
	return p.Handler.Handle(ctx, r)
}

func (p paced) WithAttrs(attrs []slog.Attr) slog.Handler {
	return paced{p.Handler.WithAttrs(attrs), p.pace}
}

func (p paced) WithGroup(name string) slog.Handler {
	return paced{p.Handler.WithGroup(name), p.pace}
}

// take reports whether a line is to be written, and how many before it were not
// since it was last told.
func (p *pace) take(now time.Time) (left int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if second := now.Truncate(time.Second); !second.Equal(p.second) {
		p.second, p.lines = second, 0
		left, p.left = p.left, 0
	}
	if p.lines == maxLines {
		p.left++
		return 0, false
	}
	p.lines++
	return left, true
}
