package checkup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
)

// Priorities of a device and of a client without other features: others of the
// account must not get their messages.
const (
	devicePriority = -80
	clientPriority = -16
)

// presence: each sees the other, and sees it go.
func (p *pair) presence(ctx context.Context) Result {
	const fix = "let the server tell the resources of an account of each other (RFC 6121, section 4.2.2)"
	err := errors.Join(
		p.a.Send(ctx, &stanza.Presence{Priority: devicePriority}),
		p.b.Send(ctx, &stanza.Presence{Priority: clientPriority}))
	if err != nil {
		return failed(fix, "%v", err)
	}
	if _, err := p.b.see(ctx, p.a.JID(), ""); err != nil {
		return failed(fix, "the newcomer does not see who was there")
	}
	if _, err := p.a.see(ctx, p.b.JID(), ""); err != nil {
		return failed(fix, "who was there does not see the newcomer")
	}
	start := time.Now()
	c, err := p.dial(ctx, "c")
	if err != nil {
		return failed(fix, "a third session: %v", err)
	}
	defer c.Close()
	if err := c.Send(ctx, &stanza.Presence{Priority: clientPriority}); err != nil {
		return failed(fix, "%v", err)
	}
	if _, err := p.a.see(ctx, c.JID(), ""); err != nil {
		return failed(fix, "a third session is not seen")
	}
	c.Close()
	if _, err := p.a.see(ctx, c.JID(), "unavailable"); err != nil {
		return failed(fix, "a session that ends is not seen to go")
	}
	return ok("devices of the account see each other come and go, in %v", time.Since(start).Round(time.Millisecond))
}

// see waits for a presence.
func (e *end) see(ctx context.Context, from jid.JID, typ string) (*stanza.Presence, error) {
	for {
		select {
		case pr := <-e.presence:
			if pr.From == from && pr.Type == typ {
				return pr, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *pair) priorities(ctx context.Context) Result {
	if err := p.a.Send(ctx, &stanza.Presence{Priority: devicePriority, Status: p.run}); err != nil {
		return failed("look into the server's log", "%v", err)
	}
	for {
		pr, err := p.b.see(ctx, p.a.JID(), "")
		if err != nil {
			return failed("let presence pass as it is", "a change of presence does not arrive")
		}
		if pr.Status != p.run {
			continue
		}
		if pr.Priority != devicePriority {
			return failed("let presence pass as it is", "priority %d arrives as %d", devicePriority, pr.Priority)
		}
		return ok("negative priorities arrive as they are")
	}
}

// messages is how many the order is judged by.
const messages = 300

func (p *pair) order(ctx context.Context) Result {
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := p.a.Send(ctx, p.data(p.b.JID(), fmt.Sprint(i), strings.Repeat("x", 600))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	start := time.Now()
	for i := range messages {
		select {
		case m := <-p.b.messages:
			if m.ID != fmt.Sprint(i) {
				return failed("look for what reorders or drops messages", "message %d is followed by %.20q", i-1, m.ID)
			}
		case <-ctx.Done():
			return failed("take rate limits off (shaper, limits) for these accounts", "%d of %d messages in %v", i, messages, time.Since(start).Round(time.Millisecond))
		}
	}
	if err := <-sent; err != nil {
		return failed("look into the server's log", "%v", err)
	}
	took := time.Since(start)
	if took > 2*time.Second {
		return warn("take rate limits off (shaper, limits) for these accounts", "%d messages in order, but only in %v", messages, took.Round(time.Millisecond))
	}
	return ok("%d messages of 600 bytes in order, in %v", messages, took.Round(time.Millisecond))
}

// data is a message as devices send it: no body, and not to be kept.
func (p *pair) data(to jid.JID, id, text string) *stanza.Message {
	return &stanza.Message{To: to, ID: id, Children: []stanza.Element{
		{NS: "urn:x-farreach:check", Name: "data", Text: text}, {NS: "urn:xmpp:hints", Name: "no-store"}}}
}

// absentTime is how long a refusal may take.
const absentTime = 3 * time.Second

func (p *pair) absent(ctx context.Context) Result {
	gone, err := p.cfg.JID.WithResource("OIC/1.0/Client/" + p.run + "-nobody")
	if err == nil {
		err = p.a.Send(ctx, p.data(gone, "absent", ""))
	}
	if err != nil {
		return failed("look into the server's log", "%v", err)
	}
	late := time.After(absentTime)
	for {
		select {
		case m := <-p.a.messages:
			if m.ID != "absent" {
				continue
			}
			if m.Err != nil {
				return ok("a message to a device that is not there comes back: %s", m.Err.Condition)
			}
			return failed("let messages to an absent resource come back (RFC 6121, section 8.5.3.2)", "a message to a device that is not there goes to another")
		case <-late:
			return warn("turn storage of offline messages off (mod_offline)", "a message to a device that is not there vanishes, and may come when it is too late")
		case <-ctx.Done():
			return failed("look into the server's log", "%v", ctx.Err())
		}
	}
}

// lookAlive is how long a device that is gone may look as if it were there.
const lookAlive = time.Minute

func (p *pair) resumption(context.Context) Result {
	t := p.a.Terms()
	switch {
	case !t.Manage:
		return warn("turn XEP-0198 on", "no stream management: what is under way when a connection breaks is lost")
	case t.Resume == 0:
		return warn("let sessions be resumed (XEP-0198)", "stanzas are acknowledged, sessions are not resumed")
	case t.Resume > lookAlive:
		return warn("smacks_hibernation_time or resume_timeout: 60 s", "a device that is gone looks alive for %v", t.Resume)
	}
	return ok("a broken connection can be resumed within %v", t.Resume)
}

// blockText is a block of 65,535 bytes in base64, the most that a bytestream
// may have (XEP-0047), and what stands around it.
const (
	blockText = 87_380
	around    = 1024
)

// size sends a large stanza over a session of its own, for a server that does
// not take it ends that.
func (p *pair) size(ctx context.Context) Result {
	const fix = "c2s_stanza_size_limit or max_stanza_size: 262144"
	advertised := ""
	if n := p.a.Terms().Limits.Stanza; n > 0 {
		advertised = fmt.Sprintf("; the server says %d", n)
	}
	c, err := p.dial(ctx, "size")
	if err != nil {
		return failed(fix, "%v", err)
	}
	defer c.Close()
	for _, n := range []int{6144 / 3 * 4, blockText} {
		err := c.Send(ctx, p.data(c.JID(), fmt.Sprint(n), strings.Repeat("A", n+around)))
		switch {
		case errors.Is(err, xmpp.ErrTooLarge):
			return warn(fix, "stanzas of %d bytes do not fit, so that devices send smaller blocks%s", n, advertised)
		case err != nil:
			return failed(fix, "%v", err)
		}
		select {
		case <-c.messages:
		case <-c.Done():
			return warn(fix, "a stanza of %d bytes ends the session (%v), so that devices must send smaller blocks%s", n, c.Err(), advertised)
		case <-ctx.Done():
			return warn(fix, "a stanza of %d bytes does not arrive%s", n, advertised)
		}
	}
	return ok("blocks of 65,535 bytes fit into a stanza%s", advertised)
}
