package bench

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/localca"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
	"github.com/farreach/farreach/xmpp/jid"
)

// A GET beside an echo of bare messages is measured between processes of one
// processor each, as it would be between machines:
//
//	asker ──TLS──▶ XMPP server ──TLS──▶ answerer, and back
//	 rae            routes               rae, a lamp      a GET
//	 bare client    routes               bare client      the echo
//
// The two have the same way: the same processes are woken, and write as often.
// Their stanzas have the same length, byte for byte. The bare clients have one
// goroutine, which parses what comes and looks at nothing in it; they acknowledge
// nothing (XEP-0198), and know what they will say before they are asked. They
// take turns of a few trips each, so that what else the machine does hits both.
//
// How long a processor that sleeps takes to wake depends on the machine, and may
// be longer than a whole trip. It is in both ways four times.

const (
	turnTrips = 20  // in one way, before the other has its turn
	warmTrips = 300 // of each way that do not count: what is opened and grows
)

// remoteTarget is how a process gets into the server: what it is told first.
type remoteTarget struct {
	Addr, Domain, Account, Password string
	CAFile                          string // "": the authorities of the system
	Child                           bool   // of our own, whose certificate is not looked at
}

func (s *xmppTarget) told() string {
	b, _ := json.Marshal(s.target()) // texts can be marshalled
	return string(b)
}

func (s *xmppTarget) target() remoteTarget {
	return remoteTarget{s.addr, s.domain, s.account, string(s.password), s.caFile, s.roots == nil}
}

func parseTarget(told []byte) (*xmppTarget, error) {
	var t remoteTarget
	if err := json.Unmarshal(told, &t); err != nil {
		return nil, err
	}
	return t.open()
}

func (t remoteTarget) open() (*xmppTarget, error) {
	s := &xmppTarget{addr: t.Addr, domain: t.Domain, account: t.Account, secure: true, password: secret.String(t.Password), caFile: t.CAFile}
	var err error
	switch {
	case t.Child:
	case t.CAFile == "":
		s.roots, err = x509.SystemCertPool()
	default:
		s.roots, err = localca.Pool(t.CAFile)
	}
	return s, err
}

// The questions of the two processes.
const (
	askReply = "reply" // of the asker: how many characters of base64 the answer to a GET has
	askEcho  = "echo"  // of the answerer, with the address that is answered and that number: nothing
	askTrips = "trips" // of the asker, with the time to take, ns: how many trips were made in each way
	askGet   = "get"   // then: the median of a GET, ns
	askP99   = "get-p99"
	askBare  = "echo-p50"
)

// getToEcho measures a GET and an echo in turn.
func (r *remoteRun) getToEcho(ctx context.Context, s *xmppTarget, row *RemoteRow) error {
	answerer, err := r.start(ctx, kindRemoteAnswerer, s.told())
	if err != nil {
		return err
	}
	defer answerer.stop()
	asker, err := r.start(ctx, kindRemoteAsker, s.told(), answerer.addr)
	if err != nil {
		return err
	}
	defer asker.stop()
	var errs []error
	ask := func(c *child, what string, more ...any) int64 {
		n, err := c.ask(strings.TrimSpace(what + " " + fmt.Sprintln(more...)))
		if err != nil {
			errs = append(errs, err, c.failed())
		}
		return n
	}
	ask(answerer, askEcho, asker.addr, ask(asker, askReply))
	ask(asker, askTrips, r.For.Nanoseconds())
	get, p99, echo := ask(asker, askGet), ask(asker, askP99), ask(asker, askBare)
	row.Get, row.GetP99, row.Echo = millis(time.Duration(get)), millis(time.Duration(p99)), millis(time.Duration(echo))
	row.ToEcho = float64(get) / float64(max(echo, 1))
	return errors.Join(errs...)
}

// echoName is the resource of an echo, as long as that of an endpoint.
func echoName(side string, as rae.Name) string {
	return (side + strings.Repeat(".", 100))[:len(as.String())]
}

// block is a message with characters of base64 in it, as long as package ibb
// sends it.
func block(to string, characters int) []byte {
	sid := strings.Repeat("5", 32)
	return []byte("<message id='" + sid + "-1000' to='" + to + "'><data xmlns='http://jabber.org/protocol/ibb' sid='" + sid + "' seq='1000'>" +
		strings.Repeat("A", characters) + "</data><no-store xmlns='urn:xmpp:hints'/></message>")
}

// serveAnswerer is the process that is asked. It writes the name of its lamp.
func serveAnswerer(ctx context.Context, s *xmppTarget, questions *bufio.Scanner, out io.Writer) error {
	lamp, err := s.remoteDevice(ctx)
	if err != nil {
		return err
	}
	defer lamp.stop()
	far, err := s.login(ctx, "", echoName("far", lamp.Name()), nil)
	if err != nil {
		return err
	}
	defer far.Close()
	fmt.Fprintln(out, lamp.Name())
	for questions.Scan() {
		var near string
		var back int
		if _, err := fmt.Sscanf(questions.Text(), askEcho+" %s %d", &near, &back); err != nil {
			return err
		}
		go far.echo(block(near, back)) // ends with the connection
		fmt.Fprintln(out, 0)
	}
	return nil
}

// echo answers each element that comes with reply.
func (c *xmppClient) echo(reply []byte) {
	for {
		if _, err := c.element(); err != nil {
			return
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// asker is the process that asks: both ways of it.
type asker struct {
	client *remote
	lamp   *rae.Remote
	near   *xmppClient
	there  []byte
	back   int
	took   [2][]time.Duration // of GETs and of echoes
}

// serveAsker is the process that asks the lamp whose name it is told next. It
// writes the address of its bare client.
func serveAsker(ctx context.Context, s *xmppTarget, questions *bufio.Scanner, out io.Writer) error {
	if !questions.Scan() {
		return io.ErrUnexpectedEOF
	}
	a, err := s.newAsker(ctx, questions.Text())
	if err != nil {
		return err
	}
	defer a.client.stop()
	defer a.near.Close()
	fmt.Fprintln(out, a.near.jid)
	for questions.Scan() {
		what, more, _ := strings.Cut(questions.Text(), " ")
		n := int64(0)
		switch what {
		case askReply:
			n = int64(a.back)
		case askTrips:
			var d time.Duration
			if d, err = time.ParseDuration(more + "ns"); err == nil {
				err = a.trips(ctx, d)
			}
			n = int64(len(a.took[0]))
		case askGet:
			n = int64(quantile(a.took[0], 0.5))
		case askP99:
			n = int64(quantile(a.took[0], 0.99))
		case askBare:
			n = int64(quantile(a.took[1], 0.5))
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(out, n)
	}
	return nil
}

func (s *xmppTarget) newAsker(ctx context.Context, name string) (_ *asker, err error) {
	a := &asker{}
	if a.client, err = s.remoteClient(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.client.stop()
		}
	}()
	of, _ := rae.ParseName(name)
	to, err := of.JID(a.client.Account())
	if err != nil {
		return nil, err
	}
	a.lamp = a.client.Open(to)
	there, back, err := sizes(ctx, a.lamp)
	if err != nil {
		return nil, err
	}
	far, err := jid.New(s.account, s.domain, echoName("far", of))
	if err != nil {
		return nil, err
	}
	a.back, a.there = back, block(far.String(), there)
	a.near, err = s.login(ctx, "", echoName("near", a.client.Name()), nil)
	return a, err
}

// trips makes trips in both ways for d, in turn.
func (a *asker) trips(ctx context.Context, d time.Duration) error {
	ways := [2]func() error{func() error { return a.client.get(ctx, a.lamp) }, a.echo}
	turn := func(keep bool) error {
		for i, trip := range ways {
			for range turnTrips {
				start := time.Now()
				if err := trip(); err != nil {
					return err
				}
				if keep {
					a.took[i] = append(a.took[i], time.Since(start))
				}
			}
		}
		return nil
	}
	for range warmTrips / turnTrips {
		if err := turn(false); err != nil {
			return err
		}
	}
	for start := time.Now(); time.Since(start) < d; {
		if err := turn(true); err != nil {
			return err
		}
	}
	return nil
}

// echo sends a message and waits for the one that comes back.
func (a *asker) echo() error {
	if _, err := a.near.Write(a.there); err != nil {
		return err
	}
	_, err := a.near.element()
	return err
}

// sizes is how many characters of base64 a GET of lamp and its answer are.
func sizes(ctx context.Context, lamp *rae.Remote) (there, back int, err error) {
	resp, err := lamp.Handle(ctx, &oic.Request{Op: oic.Retrieve, Href: lampHref})
	if err != nil {
		return 0, 0, err
	}
	meta := rae.Meta{Token: "01234567"}
	name, _ := rae.ParseName(lamp.Peer().Resource())
	c := rae.Call{Request: oic.Request{Op: oic.Retrieve, Href: lampHref, Accept: oic.OCF}, Device: name.Device(), Meta: meta}
	a := rae.Answer{Response: resp, Meta: meta}
	ask, err := c.Document()
	answer, err2 := a.Document(oic.Retrieve)
	if err = errors.Join(err, err2); err != nil {
		return 0, 0, err
	}
	size := func(d *rae.Document) int {
		b, err2 := d.Append(nil, 0)
		err = cmp.Or(err, err2)
		return (len(b) + 2) / 3 * 4
	}
	return size(ask), size(answer), err
}
