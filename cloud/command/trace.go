package command

import (
	"context"

	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
)

// Each command that is sent is a span, and so is one that is kept for a device
// that is away: it is sent later in the same trace.

// tell says in a span what became of cmd, and ends it.
func tell(span *tracing.Span, cmd *Command, err error) {
	if span == nil {
		return
	}
	path, _ := oic.SplitHref(cmd.Href) // what is in a query is nobody else's business
	span.Text("farreach.command.id", cmd.ID)
	span.Text("farreach.device.id", cmd.Device)
	span.Text("farreach.account", cmd.Account)
	span.Text("farreach.resource", path)
	span.Text("farreach.command.by", cmd.By.Kind)
	span.Text("farreach.command.state", string(cmd.State))
	if cmd.Status != 0 {
		span.Text("farreach.command.status", cmd.Status.String())
	}
	if cmd.Waits() {
		span.At("queued", cmd.Made)
	}
	span.At("sent", cmd.Sent)
	if cmd.State == Done || cmd.State == Refused {
		span.At("answered", cmd.Ended)
	}
	if err != nil {
		_, why := oic.StatusOf(err)
		span.Fail(why)
	}
	span.End()
}

// in returns ctx in the trace of a command that waited.
func (c *Commands) in(ctx context.Context, w *waiting) context.Context {
	return c.cfg.Tracer.Take(ctx, w.Trace, "")
}
