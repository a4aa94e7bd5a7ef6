package checkup

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// XMPP is an XMPP server to look at, by any hand: does it fit devices that are
// reached over it? Client is how to log in; its resource does not matter.
type XMPP struct {
	Client  xmpp.Config
	Timeout time.Duration // for each question; 0: 10 s
}

// RunXMPP logs in twice, as two devices of one account, and asks everything, in
// order. It returns early when ctx ends, and leaves nothing behind.
func RunXMPP(ctx context.Context, x XMPP) []Result {
	p := &pair{cfg: x.Client}
	p.cfg.Keys = new(sasl.Keys)
	p.cfg.Log = cmp.Or(p.cfg.Log, slog.New(slog.DiscardHandler))
	p.run = secret.ID()
	defer p.close()
	return run(ctx, cmp.Or(x.Timeout, 10*time.Second), []check{
		{"xmpp login", "", p.login},
		{"xmpp tls", "xmpp login", p.tls},
		{"certificate", "xmpp login", p.certificate},
		{"mechanism", "xmpp login", p.mechanism},
		{"resource", "xmpp login", p.resource},
		{"ping", "xmpp login", p.ping},
		{"presence", "xmpp login", p.presence},
		{"priorities", "presence", p.priorities},
		{"order", "presence", p.order},
		{"absent", "xmpp login", p.absent},
		{"resumption", "xmpp login", p.resumption},
		{"stanza size", "xmpp login", p.size},
		{"replacement", "xmpp login", p.replacement},
	})
}

// pair is two sessions of one account.
type pair struct {
	cfg  xmpp.Config
	run  string // names this run's resources
	took time.Duration
	a, b *end
	cert time.Time // when the server's certificate ends; zero: not seen
}

// end is a session, and what came to it.
type end struct {
	*xmpp.Session
	messages chan *stanza.Message
	presence chan *stanza.Presence
}

// dial logs in with a resource as a device has it.
func (p *pair) dial(ctx context.Context, name string) (*end, error) {
	cfg := p.cfg
	var err error
	if cfg.JID, err = cfg.JID.WithResource("OIC/1.0/Client/" + p.run + "-" + name); err != nil {
		return nil, err
	}
	cfg.TLS = p.watched(cfg.TLS)
	e := &end{messages: make(chan *stanza.Message, 1024), presence: make(chan *stanza.Presence, 1024)}
	cfg.Handlers = new(xmpp.Handlers)
	cfg.Handlers.OtherMessage(func(_ *xmpp.Session, m *stanza.Message) { offer(e.messages, m) })
	cfg.Handlers.Presence(func(_ *xmpp.Session, pr *stanza.Presence) { offer(e.presence, pr) })
	e.Session, err = xmpp.Dial(ctx, cfg)
	return e, err
}

// offer puts v into c unless nobody has taken anything for long.
func offer[V any](c chan V, v V) {
	select {
	case c <- v:
	default:
	}
}

// watched is cfg, and notes how long the server's certificate is good.
func (p *pair) watched(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg = cfg.Clone()
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		p.cert = s.PeerCertificates[0].NotAfter
		return nil
	}
	return cfg
}

func (p *pair) close() {
	for _, e := range []*end{p.a, p.b} {
		if e != nil {
			e.Close()
		}
	}
}

func (p *pair) login(ctx context.Context) Result {
	start := time.Now()
	a, err := p.dial(ctx, "a")
	if err != nil {
		return loginFailed(err)
	}
	p.took = time.Since(start)
	p.a = a
	if p.b, err = p.dial(ctx, "b"); err != nil {
		p.b = nil
		return failed("allow more sessions of one account: each device has one", "the first session is there, the second is not: %v", err)
	}
	return ok("%s at %s, in %v", p.cfg.JID.Bare(), a.Terms().Addr, p.took.Round(100*time.Microsecond))
}

// loginFailed says what may be wrong.
func loginFailed(err error) Result {
	fix := "is the server running, and the address right? --xmpp-addr names another"
	if e, is := errors.AsType[*xmpp.AuthError](err); is && e.Condition == sasl.NotAuthorized {
		fix = "another account or password: --xmpp JID, --password-file FILE"
	} else if _, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		fix = "a certificate for the domain of the JID, or --ca-file FILE with the authority to trust"
	} else if errors.Is(err, sasl.ErrTooWeak) {
		fix = "let the server offer SCRAM-SHA-256 or SCRAM-SHA-1"
	} else if errors.Is(err, xmpp.ErrNoTLS) {
		fix = "let the server offer STARTTLS"
	} else if errors.Is(err, xmpp.ErrRenamed) {
		fix = "let the server keep the resource that a client asks for"
	}
	return failed(fix, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
}

func (p *pair) tls(context.Context) Result {
	t := p.a.Terms()
	how := "STARTTLS"
	if t.Direct {
		how = "from the first byte"
	}
	if t.TLS < tls.VersionTLS13 {
		return warn("let the server speak TLS 1.3", "%s, %s", tls.VersionName(t.TLS), how)
	}
	return ok("%s, %s", tls.VersionName(t.TLS), how)
}

func (p *pair) certificate(context.Context) Result {
	left := time.Until(p.cert)
	if left < soon {
		return warn("install a newer one", "for %s, good for %d days", p.cfg.JID.Domain(), left/(24*time.Hour))
	}
	return ok("for %s, good for %d days", p.cfg.JID.Domain(), left/(24*time.Hour))
}

func (p *pair) mechanism(context.Context) Result {
	t := p.a.Terms()
	switch {
	case t.Mechanism == sasl.Plain:
		return failed("let the server offer SCRAM-SHA-256 or SCRAM-SHA-1", "%s shows the server the password", t.Mechanism)
	case t.Mechanism.Plus():
		return ok("%s, bound by %s", t.Mechanism, t.Binding)
	case t.Mechanism == sasl.ScramSHA1:
		return warn("let the server keep passwords for SCRAM-SHA-256", "%s; does the job, is old", t.Mechanism)
	}
	return ok("%s, not bound to the channel", t.Mechanism)
}

// resource: what was asked for is what was bound, or there would be no session.
func (p *pair) resource(context.Context) Result { return ok("%s", p.a.JID().Resource()) }

func (p *pair) ping(ctx context.Context) Result {
	server, _ := jid.New("", p.cfg.JID.Domain(), "")
	start := time.Now()
	_, err := p.a.Ask(ctx, stanza.IQ{To: server, Type: "get", Payload: &stanza.Element{NS: "urn:xmpp:ping", Name: "ping"}})
	if _, is := errors.AsType[*stanza.Error](err); is {
		return warn("turn XEP-0199 on", "the server does not answer pings: %v", err)
	}
	if err != nil {
		return failed("look into the server's log", "no answer: %v", err)
	}
	return ok("answered in %v", time.Since(start).Round(10*time.Microsecond))
}

// replacement: a device whose connection is half open comes back, and its old
// session goes.
func (p *pair) replacement(ctx context.Context) Result {
	const fix = "let a newcomer replace the session that has its resource"
	again, err := p.dial(ctx, "a")
	if err != nil {
		return failed(fix, "a second log-in with the same resource: %v", err)
	}
	defer again.Close()
	select {
	case <-p.a.Done():
		if e, is := errors.AsType[*stream.Error](p.a.Err()); is && e.Condition == stream.Conflict {
			return ok("a newcomer with the same resource replaces the old session")
		}
		return warn(fix, "a newcomer ends the old session with %v", p.a.Err())
	case <-ctx.Done():
		return failed(fix, "two sessions have the same resource")
	}
}
