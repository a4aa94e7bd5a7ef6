package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/payload"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

// bodyHelp is what put, post and set say about their BODY.
const bodyHelp = `BODY is JSON, @FILE, - for standard input, or key=value pairs: value=true is a
boolean, dimming=40 a number, name=attic text, and code='"40"' text too.`

// request is one request to a device, from the command line to the screen.
type request struct {
	access
	xmpp   xmppAccess
	shared shared
	iface  string
	queue  time.Duration // how long a command may wait for its device; 0: not at all
}

func (r *request) flags(cmd *cobra.Command) {
	r.access.flags(cmd)
	r.xmpp.flags(cmd)
	r.shared.flags(cmd)
	cmd.Flags().StringVar(&r.iface, "if", "", "`interface` to use, as oic.if.baseline")
}

// requestCmd makes cmd a command that sends op to the target in its first
// argument with the body in the others.
func (a *app) requestCmd(cmd *cobra.Command, op oic.Op) *cobra.Command {
	var r request
	r.flags(cmd)
	if op != oic.Retrieve {
		cmd.Flags().DurationVar(&r.queue, "queue", 0, "if the device is away, let the server keep it for this `time`, 1h at most")
	}
	cmd.GroupID = groupReach
	cmd.ValidArgsFunction = a.completeTarget
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.request(cmd.Context(), r, op, args)
	}
	return cmd
}

func (a *app) request(ctx context.Context, r request, op oic.Op, args []string) error {
	if r.queue != 0 {
		return a.queued(ctx, r, op, args)
	}
	p, err := a.path(ctx, r, args[0])
	if err != nil {
		return err
	}
	defer p.close()
	req := &oic.Request{Op: op, Href: p.href}
	if req.Body, err = a.body(args[1:]); err != nil {
		return err
	}
	if req.Body != nil {
		req.Format = p.format
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	resp, err := p.device.Handle(ctx, req)
	if err != nil {
		return advised(op, args[0], p.failed(ctx, args[0], err))
	}
	a.sayVia(p)
	return a.show(p, resp)
}

// body makes CBOR of what the user typed; nil for nothing.
func (a *app) body(args []string) ([]byte, error) {
	b, raw, err := payload.Parse(args, a.in)
	if err != nil {
		return nil, misuse(`value=true, or '{"value":true}'`, "%w", err)
	}
	if raw || b == nil {
		return b, nil
	}
	return oic.FromJSON(oic.CBOR, b)
}

// path is an open way to a device, and the resource at its end.
type path struct {
	device oic.Observer
	di     string // empty for a server that was reached straight
	href   string
	via    func() string                                // the URI of what the latest answer came through
	format oic.ContentFormat                            // that a body may be sent in
	done   <-chan struct{}                              // closed when a server that was reached straight has gone; nil: errors tell
	ping   func(context.Context) (time.Duration, error) // of what the request goes through
	close  func()
}

// failed says what went wrong on the way to target: a device that cannot be
// asked because the server has gone is not what is offline.
func (p *path) failed(ctx context.Context, target string, err error) error {
	select {
	case <-p.done:
		if _, refused := errors.AsType[*oic.StatusError](err); !refused && ctx.Err() == nil {
			return fail(exitNoConnect, "again, when the server is back", "%s: connection to %s lost", target, p.via())
		}
	default:
	}
	if _, refused := errors.AsType[*oic.StatusError](err); !refused && errors.Is(err, context.DeadlineExceeded) {
		try := "a longer --timeout"
		if strings.HasPrefix(p.via(), "coaps://") {
			try = "the same key at both ends, or " + try // a wrong one is met by silence
		}
		return fail(exitTimeout, try, "%s: no answer in time", target)
	}
	return fmt.Errorf("%s: %w", target, err)
}

// advised is err with what to do about it: if the device has refused op, look at what it
// has, or what the resource is like; if it is away, leave a command for it.
func advised(op oic.Op, target string, err error) error {
	refusal, refused := errors.AsType[*oic.StatusError](err)
	switch {
	case codeOf(err) == exitOffline && op != oic.Retrieve && reach.HintOf(err) == "":
		return fail(exitOffline, "--queue 1h, and the device is given it when it is back", "%w", err)
	case refused && (refusal.Status == oic.NotFound || refusal.Status == oic.MethodNotAllowed):
		target = deviceIn(target)
	case errors.Is(err, oic.ErrNotObservable), refused && refusal.Status == oic.BadRequest && op != oic.Retrieve:
	default:
		return err
	}
	return fail(codeOf(err), "farreach get "+shellWord(target), "%w", err)
}

// deviceIn is a target without its path.
func deviceIn(target string) string {
	begin := 0
	if scheme := strings.Index(target, "://"); scheme >= 0 {
		begin = scheme + len("://")
	}
	end := strings.IndexAny(target[begin:], "/?")
	if strings.HasPrefix(target, "xmpp:") {
		end = strings.Index(target, "?") // what is before it is the device's address
	}
	if end < 0 {
		return target
	}
	return target[:begin+end]
}

// path finds the way to target. Its errors say what was asked for.
func (a *app) path(ctx context.Context, r request, target string) (*path, error) {
	t, err := reach.ParseTarget(target)
	if err != nil {
		return nil, err
	}
	cfg, done, err := a.reachConfig(r, t)
	if err != nil {
		return nil, err
	}
	if cfg.Shared, err = a.sharedKey(r.shared, t); err != nil {
		done()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	p := &path{href: withInterface(t.Href, r.iface)}
	if t.URI != "" {
		err = p.straight(ctx, t, cfg)
	} else {
		err = p.toDevice(ctx, t, cfg)
	}
	if err != nil {
		done()
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	end := p.close
	p.close = func() { end(); done() }
	return p, nil
}

func (p *path) toDevice(ctx context.Context, t reach.Target, cfg reach.Config) error {
	ways, err := reach.Open(ctx, cfg)
	if err != nil {
		return err
	}
	device, err := ways.Device(ctx, t)
	if err != nil {
		return errors.Join(err, ways.Close())
	}
	p.device, p.di, p.format = device, device.ID(), oic.OCF
	p.via, p.ping = device.Via, device.Ping
	p.close = func() { _ = ways.Close() } // the answer is there; nothing depends on the farewell
	return nil
}

// straight goes to the server itself. It may be no OIC device, so that a body
// is plain CBOR, without options that only those know.
func (p *path) straight(ctx context.Context, t reach.Target, cfg reach.Config) error {
	server, err := reach.Direct(ctx, t, cfg)
	if err != nil {
		return err
	}
	p.device, p.format, p.done = server.Observer(), oic.CBOR, server.Done()
	p.via = func() string { return t.URI }
	p.ping = server.Ping
	p.close = func() { _ = server.Close() } // as above
	return nil
}

func withInterface(href, iface string) string {
	switch {
	case iface == "":
		return href
	case strings.Contains(href, "?"):
		return href + "&if=" + iface
	}
	return href + "?if=" + iface
}

// responseDoc is what get, put, post, set and delete write with --json, and
// observe with "farreach.notification/v1" for each change.
type responseDoc struct {
	Schema string          `json:"schema"`
	Time   string          `json:"time,omitempty"` // RFC 3339; of a notification
	Device string          `json:"di,omitempty"`
	Href   string          `json:"href"`
	Via    string          `json:"via"`
	Status string          `json:"status"`         // "2.05"
	Rep    json.RawMessage `json:"rep,omitempty"`  // the representation
	Body   []byte          `json:"body,omitempty"` // base64, where it is none that JSON can tell
}

func (a *app) show(p *path, resp *oic.Response) error {
	if a.json {
		return a.screen().Doc(p.doc("farreach.response/v1", resp))
	}
	if len(resp.Body) == 0 {
		if a.terminal {
			a.say("%s", resp.Status)
		}
		return nil
	}
	return a.screen().Value(bodyText(resp))
}

func (p *path) doc(schema string, resp *oic.Response) responseDoc {
	code, _, _ := strings.Cut(resp.Status.String(), " ")
	doc := responseDoc{Schema: schema, Device: p.di, Href: p.href, Via: p.via(), Status: code}
	if text := bodyText(resp); json.Valid(text) {
		doc.Rep = text
	} else {
		doc.Body = resp.Body
	}
	return doc
}

// bodyText is the representation as JSON if it can be told so, else as it is.
func bodyText(resp *oic.Response) []byte {
	if resp.Format.IsCBOR() {
		if text, err := oic.ToJSON(resp.Format, resp.Body); err == nil {
			return text
		}
	}
	return resp.Body
}
