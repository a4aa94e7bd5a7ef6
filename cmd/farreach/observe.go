package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/oic"
)

// stopAt says when a stream of lines ends by itself.
type stopAt struct {
	count int           // lines; 0: never
	after time.Duration // 0: never
}

func (s *stopAt) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&s.count, "count", 0, "stop after `N` lines")
	cmd.Flags().DurationVar(&s.after, "for", 0, "stop after a `time` such as 30s; exit status 7 if nothing was seen, or less than --count")
}

// errEnough ends a stream that has brought as much as was asked for.
var errEnough = errors.New("enough")

// run gives each a context that ends after s.after, and with errEnough when it
// has called line s.count times. It knows which end of a stream is a success.
func (s stopAt) run(ctx context.Context, each func(ctx context.Context, line func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.after > 0 {
		timer := time.AfterFunc(s.after, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
	}
	seen := 0
	err := each(ctx, func() {
		if seen++; seen == s.count {
			cancel(errEnough)
		}
	})
	switch cause := context.Cause(ctx); {
	case cause == errEnough, cause == context.DeadlineExceeded && seen > 0 && s.count == 0:
		return nil
	case cause == context.DeadlineExceeded && seen > 0:
		return fail(exitTimeout, "a longer --for", "%d of %d seen in %v", seen, s.count, s.after)
	case cause == context.DeadlineExceeded:
		return fail(exitTimeout, "a longer --for", "nothing seen in %v", s.after)
	}
	return err
}

func (a *app) observeCmd() *cobra.Command {
	var r request
	var stop stopAt
	cmd := &cobra.Command{
		Use:   "observe TARGET",
		Short: "Watch a resource change",
		Long: `Writes the representation as it is now and again after each change, one line
each, until Ctrl-C.`,
		Example: `  farreach observe lamp/a/light
  farreach observe door/a/door --count 2 --for 1m --json`,
		GroupID:           groupReach,
		Args:              takes("a target such as lamp/a/light"),
		ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.observe(cmd.Context(), r, stop, args[0])
		},
	}
	r.flags(cmd)
	stop.flags(cmd)
	return cmd
}

func (a *app) observe(ctx context.Context, r request, stop stopAt, target string) error {
	p, err := a.path(ctx, r, target)
	if err != nil {
		return err
	}
	defer p.close()
	return stop.run(ctx, func(ctx context.Context, line func()) error {
		var failed error
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := p.device.Observe(ctx, &oic.Request{Href: p.href}, func(resp *oic.Response) {
			if failed != nil || ctx.Err() != nil {
				return
			}
			if failed = a.notification(p, resp); failed != nil {
				cancel()
				return
			}
			line()
		})
		if failed != nil {
			return failed
		}
		return advised(oic.Retrieve, target, p.failed(ctx, target, err))
	})
}

func (a *app) notification(p *path, resp *oic.Response) error {
	now := time.Now()
	if a.json {
		doc := p.doc("farreach.notification/v1", resp)
		doc.Time = now.UTC().Format(time.RFC3339Nano)
		return a.screen().Doc(doc)
	}
	text := string(bodyText(resp))
	if a.terminal {
		return a.screen().Line(now.Format(time.TimeOnly), text)
	}
	return a.screen().Line(text)
}
