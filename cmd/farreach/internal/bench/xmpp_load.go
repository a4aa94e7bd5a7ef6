package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// How messages are sent.
const (
	pairs    = 4         // senders and receivers, each of one account
	inWindow = 128 << 10 // bytes on their way between two
	joined   = 15 << 10  // bytes of messages that are written at once
	warmUp   = 200 * time.Millisecond
)

// routed sends messages between pairs as fast as they are taken, and returns
// how many arrived per second of the server's processor, and per second.
func (s *xmppTarget) routed(ctx context.Context, payload int, d time.Duration) (perCore, inAll float64, err error) {
	var got atomic.Int64
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	var conns []*xmppClient
	closeAll := func() {
		for _, c := range conns {
			c.Close()
		}
	}
	defer closeAll()
	type pair struct{ from, to *xmppClient }
	var all []pair
	for i := range pairs {
		user := "pair" + strconv.Itoa(i)
		from, err := s.login(ctx, user, "from"+strconv.Itoa(i), nil)
		if err != nil {
			return 0, 0, err
		}
		conns = append(conns, from)
		to, err := s.login(ctx, user, "to"+strconv.Itoa(i), nil)
		if err != nil {
			return 0, 0, err
		}
		conns = append(conns, to)
		all = append(all, pair{from, to})
	}
	var over atomic.Bool
	for _, p := range all {
		message := s.message(p.to.jid, payload)
		window := max(inWindow/len(message), 2)
		free := make(chan int, window+1)
		free <- window
		g.Go(func() error { return ended(&over, send(gctx, p.from, message, free)) })
		g.Go(func() error { return ended(&over, receive(p.to, free, &got)) })
	}
	stop := context.AfterFunc(gctx, closeAll) // one has failed, or all must end
	defer stop()
	perCore, inAll, err = s.meter(gctx, &got, d)
	over.Store(true)
	cancel()
	closeAll()
	if failed := g.Wait(); failed != nil {
		err = failed
	}
	return perCore, inAll, err
}

// ended is nil once the end was wanted.
func ended(over *atomic.Bool, err error) error {
	if over.Load() {
		return nil
	}
	return err
}

// meter returns how fast n grows.
func (s *xmppTarget) meter(ctx context.Context, n *atomic.Int64, d time.Duration) (perCore, inAll float64, err error) {
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := wait(warmUp); err != nil {
		return 0, 0, err
	}
	before, err := s.cpu()
	if err != nil {
		return 0, 0, err
	}
	start, had := time.Now(), n.Load()
	if err := wait(d); err != nil {
		return 0, 0, err
	}
	after, err := s.cpu()
	done := float64(n.Load() - had)
	if err == nil && done == 0 {
		err = fmt.Errorf("nothing arrived within %v", d)
	}
	return done / max((after-before).Seconds(), 0.001), done / time.Since(start).Seconds(), err
}

// message is a block of bytes as IBB sends it (XEP-0047).
func (s *xmppTarget) message(to string, payload int) []byte {
	return []byte("<message to='" + to + "' id='d0'><data xmlns='http://jabber.org/protocol/ibb' sid='ra7f3c1da0' seq='0'>" +
		strings.Repeat("A", payload) + "</data></message>")
}

// send writes messages one by one, as clients do, and as many as free says.
func send(ctx context.Context, c *xmppClient, message []byte, free <-chan int) error {
	for left := 0; ; left-- {
		for left == 0 {
			select {
			case n := <-free:
				left += n
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if _, err := c.Write(message); err != nil {
			return err
		}
	}
}

// receive counts the messages that come, and lets as many be sent.
func receive(c *xmppClient, free chan<- int, got *atomic.Int64) error {
	b := make([]byte, 32<<10)
	end := []byte("</message>")
	rest := 0 // of an end that may be cut in two
	for {
		n, err := c.Read(b[rest:])
		if err != nil {
			return err
		}
		n += rest
		if count := bytes.Count(b[:n], end); count > 0 {
			got.Add(int64(count))
			free <- count
		}
		last := bytes.LastIndex(b[:n], end)
		rest = min(n, len(end)-1)
		if last >= 0 {
			rest = min(rest, n-last-len(end))
		}
		copy(b, b[n-rest:n])
	}
}

// roundTrips asks a sibling, one request after the other.
func (s *xmppTarget) roundTrips(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	near, err := s.login(ctx, "trip", "near", nil)
	if err != nil {
		return nil, err
	}
	defer near.Close()
	far, err := s.login(ctx, "trip", "far", nil)
	if err != nil {
		return nil, err
	}
	g := errgroup.Group{}
	g.Go(func() error {
		for {
			e, err := far.element()
			if err != nil {
				return nil // the end
			}
			if err := far.say("<iq type='result' id='" + e.Attr("id") + "' to='" + near.jid + "'/>"); err != nil {
				return nil
			}
		}
	})
	took, err := timed(d, func() error {
		if err := near.say("<iq type='get' id='t' to='" + far.jid + "'><ping xmlns='urn:xmpp:ping'/></iq>"); err != nil {
			return err
		}
		e, err := near.element()
		if err == nil && e.Attr("type") != "result" {
			err = fmt.Errorf("answered with %s %s", e.Name, e.Attr("type"))
		}
		return err
	})
	far.Close()
	g.Wait()
	return took, err
}

// logIns logs in again and again, and returns how often per second of the
// server's processor, the median of some turns: half of a log-in is a TLS
// handshake, and most of the rest are six wake-ups, whose price in processor time
// doubles on a busy machine.
func (s *xmppTarget) logIns(ctx context.Context, d time.Duration) (float64, error) {
	var done atomic.Int64
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	for i := range 4 {
		g.Go(func() error {
			for gctx.Err() == nil {
				c, err := s.login(gctx, "login"+strconv.Itoa(i), "r"+strconv.Itoa(i), nil)
				if gctx.Err() != nil {
					if c != nil {
						c.Close()
					}
					return nil
				}
				if err != nil {
					return err
				}
				done.Add(1)
				c.say("</stream:stream>") // and the end may come when it comes
				c.Close()
			}
			return nil
		})
	}
	var rates []float64
	var err error
	for range logInTurns { // what else the machine does hits some
		var rate float64
		if rate, _, err = s.meter(gctx, &done, d/logInTurns); err != nil {
			break
		}
		rates = append(rates, rate)
	}
	cancel()
	if failed := g.Wait(); failed != nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	return median(rates), nil
}

const logInTurns = 5

// sessions are connections that are open.
type sessions []*xmppClient

func (all *sessions) close() { all.keep(0) }

// keep closes all but the first n.
func (all *sessions) keep(n int) {
	for len(*all) > n {
		last := len(*all) - 1
		if c := (*all)[last]; c != nil {
			c.Close()
		}
		*all = (*all)[:last]
	}
}

// sessionsPerAccount is few, for each tells all others of its account that it is
// there.
const sessionsPerAccount = 20

// idleSessions opens sessions that are available and then silent, and returns
// what each costs, bytes of resident memory.
func (r *xmppRun) idleSessions(ctx context.Context, c *child, s *xmppTarget) (*sessions, float64, error) {
	all := make(sessions, r.Connections)
	open := func(ctx context.Context, i int) (*xmppClient, error) {
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 1+byte(i/strangersPerAddress/200), byte(1+i/strangersPerAddress%200))}
		x, err := s.login(ctx, fmt.Sprintf("idle%d", i/sessionsPerAccount), fmt.Sprintf("OIC/1.0/oic.d.light/%08d", i), from)
		if err != nil {
			return nil, err
		}
		if err := x.say("<presence><priority>-80</priority></presence>"); err != nil {
			return x, err
		}
		go drain(x) // ends with the connection
		return x, nil
	}
	if warm, err := open(ctx, 0); err != nil {
		return &all, 0, err
	} else {
		warm.Close()
	}
	before, err := c.memory()
	if err != nil {
		return &all, 0, err
	}
	if err := each(ctx, len(all), func(ctx context.Context, i int) (err error) {
		all[i], err = open(ctx, i)
		return err
	}); err != nil {
		return &all, 0, err
	}
	select {
	case <-time.After(2 * silence):
	case <-ctx.Done():
	}
	after, err := c.memory()
	r.note("live of an idle session, TLS %v: %d B", s.secure, (after[1]-before[1])/int64(len(all)))
	return &all, float64(after[0]-before[0]) / float64(len(all)), err
}

// drain takes what comes, with little memory.
func drain(c *xmppClient) {
	b := make([]byte, 512)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}
