package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farreach/farreach/internal/tracing"
	"github.com/farreach/farreach/oic"
)

// Do sends a command to the device that to leads to, and returns what became of
// it. Of cmd it is given who asks what device; req says what.
//
// One of which to says that the device is away and that it certainly was not sent
// is queued, if it has time for that (Keep): then there is neither an answer nor
// an error. Whatever may have been sent is not sent again.
//
// The error is that of to, or says that the command was not sent because it
// could not be stored: then it is a store.ErrUnavailable. A command whose ID
// the log has already is not sent again: what it came to is returned. To look
// costs more than all the rest, unless the command is Fresh.
func (c *Commands) Do(ctx context.Context, cmd Command, req *oic.Request, to oic.Handler) (Command, *oic.Response, error) {
	if again := cmd.fill(req); again {
		if before, err := c.Get(ctx, cmd.Account, cmd.Device, cmd.ID); err == nil && before.State != Queued {
			resp, err := before.outcome()
			return before, resp, err
		} else if err != nil && !isNotFound(err) {
			return cmd, nil, err
		}
	}
	return c.send(ctx, cmd, req, to)
}

// send is Do for a command that certainly was not sent before. One that waits
// for its device does so again if it certainly was not sent now.
func (c *Commands) send(ctx context.Context, cmd Command, req *oic.Request, to oic.Handler) (Command, *oic.Response, error) {
	ctx, span := c.cfg.Tracer.Start(ctx, tracing.Client, "command")
	cmd, resp, err := c.sendNow(ctx, cmd, req, to)
	tell(span, &cmd, err)
	return cmd, resp, err
}

func (c *Commands) sendNow(ctx context.Context, cmd Command, req *oic.Request, to oic.Handler) (Command, *oic.Response, error) {
	cmd.State, cmd.Sent = Sent, now()
	if err := c.note(ctx, &cmd); err != nil {
		return cmd, nil, fmt.Errorf("command: %w", err)
	}
	c.recent.sent(&cmd)
	resp, err := to.Handle(ctx, req)
	switch {
	case cmd.Waits() && errors.Is(err, oic.ErrNotSent):
		cmd.State, cmd.Sent = Queued, time.Time{}
	case cmd.Keep > 0 && errors.Is(err, oic.ErrNotSent) && errors.Is(err, oic.ErrOffline):
		waits := cmd
		waits.Sent = time.Time{}
		kept := c.keep(context.WithoutCancel(ctx), &waits, req.From, cmd.Keep)
		if kept == nil {
			return waits, nil, nil
		}
		c.cfg.Log.Debug("command whose device has just gone cannot wait", "id", cmd.ID, "device", cmd.Device, "err", kept)
		cmd.end(resp, err)
	default:
		cmd.end(resp, err)
	}
	c.recent.ended(&cmd)
	// What the device did is true whether or not it can be stored, and whether
	// or not anybody waits for it still.
	if err := c.note(context.WithoutCancel(ctx), &cmd); err != nil {
		c.cfg.Log.Warn("what came of a command is not stored", "id", cmd.ID, "device", cmd.Device, "state", cmd.State, "err", err)
	}
	return cmd, resp, err
}

// answerTime is how long a device has for its answer, as who sends the request
// sees it.
const answerTime = 10 * time.Second

// Parting returns a context for a command that a task of the server sends, whose
// own context is ctx: it goes on for 10 s after that has ended, so that a command
// which a device has is answered when the server stops. end is to be called when
// it is done.
func Parting(ctx context.Context) (late context.Context, end func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		last := time.NewTimer(answerTime)
		defer last.Stop()
		select {
		case <-last.C:
			cancel()
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel() }
}

// Fail keeps a command that could not be sent, for why, and returns it.
func (c *Commands) Fail(ctx context.Context, cmd Command, req *oic.Request, why error) Command {
	cmd.fill(req)
	cmd.State, cmd.Ended = Failed, now()
	cmd.Status, cmd.Why = oic.StatusOf(why)
	if err := c.note(ctx, &cmd); err != nil {
		c.cfg.Log.Debug("command that was not sent is not stored", "id", cmd.ID, "device", cmd.Device, "err", err)
	}
	return cmd
}

// fill fills in what is asked for, and what whoever makes a command may leave
// open. It reports whether the command may have been made before.
func (c *Command) fill(req *oic.Request) (again bool) {
	again, c.Fresh = c.ID != "" && !c.Fresh, false
	if c.Made.IsZero() {
		c.Made = now()
	}
	if c.ID == "" {
		c.ID = NewID(c.Made)
	}
	c.Op, c.Href, c.Format, c.Body, c.Size = req.Op, req.Href, req.Format, req.Body, len(req.Body)
	return again
}

// request is what is sent to the device later.
func (c *Command) request(from oic.Identity) *oic.Request {
	return &oic.Request{Op: c.Op, Href: c.Href, From: from, Accept: oic.OCF, Format: c.Format, Body: c.Body}
}

// end notes how the request to the device ended.
func (c *Command) end(resp *oic.Response, err error) {
	c.Ended = now()
	if err == nil {
		c.State, c.Status, c.AnswerFormat, c.Answer = Done, resp.Status, resp.Format, resp.Body
		return
	}
	c.State = Failed
	c.Status, c.Why = oic.StatusOf(err)
	if refusal, ok := errors.AsType[*oic.StatusError](err); ok && !errors.Is(err, oic.ErrOffline) {
		c.State, c.AnswerFormat, c.Answer = Refused, refusal.Format, refusal.Body
	}
}

// outcome is what Do returned, as far as it is known.
func (c *Command) outcome() (*oic.Response, error) {
	switch c.State {
	case Done:
		return &oic.Response{Status: c.Status, Format: c.AnswerFormat, Body: c.Answer}, nil
	case Refused, Failed:
		return nil, &oic.StatusError{Status: c.Status, Diag: c.Why, Format: c.AnswerFormat, Body: c.Answer}
	}
	return nil, oic.Errorf(oic.Conflict, "the command was made before and is %s", c.State)
}

// now is the time as it is stored.
func now() time.Time { return time.Now().UTC().Round(0) }
