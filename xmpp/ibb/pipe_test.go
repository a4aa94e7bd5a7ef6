package ibb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server that passes stanzas on in order and answers for who is not
// there.
type world struct {
	mu    sync.Mutex // guards what follows
	sides map[jid.JID]*side
	log   []string // stanzas that were sent
}

// side is a session on it, as an *xmpp.Session would be, with an endpoint.
type side struct {
	*Endpoint
	w     *world
	j     jid.JID
	limit int
	inbox chan []byte
	done  chan struct{}

	mu   sync.Mutex // guards what follows
	asks map[string]chan stanza.IQ
}

func (w *world) join(t *testing.T, addr string, cfg Config) *side {
	t.Helper()
	j, err := jid.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	s := &side{Endpoint: New(cfg), w: w, j: j, limit: 262_144, inbox: make(chan []byte, 10_000), done: make(chan struct{}), asks: map[string]chan stanza.IQ{}}
	w.mu.Lock()
	if w.sides == nil {
		w.sides = map[jid.JID]*side{}
	}
	w.sides[j] = s
	w.mu.Unlock()
	var reading sync.WaitGroup
	reading.Go(func() {
		for raw := range s.inbox {
			s.read(raw)
		}
	})
	t.Cleanup(func() {
		s.Close()
		w.mu.Lock()
		delete(w.sides, j)
		w.mu.Unlock()
		close(s.inbox)
		reading.Wait()
	})
	return s
}

func (s *side) JID() jid.JID          { return s.j }
func (s *side) Done() <-chan struct{} { return s.done }
func (s *side) Terms() xmpp.Terms     { return xmpp.Terms{Limits: xmpp.Limits{Stanza: s.limit}} }

func (s *side) SendRaw(ctx context.Context, raw []byte) error {
	select {
	case <-s.done:
		return xmpp.ErrClosed
	default:
	}
	var scan stream.Scanner
	it, err := scan.Frame(raw)
	if err != nil {
		return err
	}
	to, err := jid.Parse(string(stream.Decode(it.To)))
	if err != nil {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.log = append(s.w.log, string(raw))
	stamped := it.AppendStamped(nil, stream.Stamp{From: stream.AppendEscaped(nil, s.j.String()), NS: true})
	if peer := s.w.sides[to]; peer != nil {
		peer.inbox <- stamped
	} else if string(it.Type) != "error" && string(it.Type) != "result" {
		answer := stanza.Message{From: to, To: s.j, ID: string(it.ID), Type: "error", Err: stanza.NewError(stanza.ServiceUnavailable, "")}
		s.inbox <- answer.Append(nil)
	}
	return nil
}

func (s *side) Ask(ctx context.Context, iq stanza.IQ) (*stanza.Element, error) {
	iq.ID, iq.Type = newSID(), "set"
	answer := make(chan stanza.IQ, 1)
	s.mu.Lock()
	s.asks[iq.ID] = answer
	s.mu.Unlock()
	if err := s.SendRaw(ctx, iq.Append(nil)); err != nil {
		return nil, err
	}
	select {
	case got := <-answer:
		if got.Err != nil {
			return nil, got.Err
		}
		return got.Payload, nil
	case <-s.done:
		return nil, xmpp.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// read does with a stanza what an *xmpp.Session does.
func (s *side) read(raw []byte) {
	if m, err := stanza.ParseMessage(raw); err == nil {
		if m.Type != "error" || !s.bounced(s, &m) {
			s.message(s, &m)
		}
		return
	}
	iq, err := stanza.ParseIQ(raw)
	if err != nil || !iq.IsRequest() {
		s.mu.Lock()
		answer := s.asks[iq.ID]
		delete(s.asks, iq.ID)
		s.mu.Unlock()
		if answer != nil {
			answer <- iq
		}
		return
	}
	handle := map[string]func(Session, *stanza.IQ) error{"open": s.opened, "data": s.asked, "close": s.closes}[iq.Payload.Name]
	err = handle(s, &iq)
	refusal, _ := errors.AsType[*stanza.Error](err)
	switch {
	case err == xmpp.ErrLater:
	case err != nil:
		s.send(s, iq.Refuse(refusal))
	default:
		s.send(s, iq.Result(nil))
	}
}

// sent returns what was sent since the last call.
func (w *world) sent() (log []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	log, w.log = w.log, nil
	return log
}

// empty checks that nothing is held or known any more.
func (s *side) empty(t *testing.T) {
	t.Helper()
	s.Endpoint.mu.Lock()
	defer s.Endpoint.mu.Unlock()
	if s.held != 0 || len(s.conns) != 0 {
		t.Errorf("%s holds %d bytes and %d sessions", s.j, s.held, len(s.conns))
	}
}
