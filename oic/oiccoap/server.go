package oiccoap

import (
	"context"
	"strings"
	"sync"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
)

// Server answers the requests of one peer: that of a connection, or one who
// sends datagrams (coap.EndpointConfig.Accept). The zero value is ready; there
// is one for each peer because observations belong to it.
type Server struct {
	mu       sync.Mutex // guards observed
	observed map[coap.Token]*observation
}

// Serve answers the request of x with h, on a goroutine of its own. from is
// who the connection has proved the peer to be. If h is an oic.Observer, then a
// GET with an Observe option starts or ends an observation.
//
// Of a multicast group only what a device says of itself can be asked: GET of
// what stands below /oic/.
//
// It is called where coap.Handler's Serve is.
func (s *Server) Serve(x *coap.Exchange, h oic.Handler, from oic.Identity) {
	m := x.Request()
	req, err := ToRequest(m)
	if err != nil {
		Reply(x, nil, err)
		return
	}
	req.From = from
	if x.Conn() == nil {
		datagram(x, req)
	}
	if req.Group && (m.Code != coap.GET || !strings.HasPrefix(req.Href, "/oic/")) {
		Reply(x, nil, oic.Errorf(oic.Forbidden, "not by multicast"))
		return
	}
	if m.Code == coap.GET && s.observe(x, h, req) {
		return
	}
	x.Go(func(ctx context.Context) {
		req.Body = x.Request().Payload // the message has moved
		resp, err := h.Handle(ctx, req)
		Reply(x, resp, err)
	})
}

// maxObserved is how many resources one peer may observe at once.
const maxObserved = 64

// observe takes care of the Observe option of a GET, and reports whether that
// answers the request too (RFC 7641, section 4.1).
func (s *Server) observe(x *coap.Exchange, h oic.Handler, req *oic.Request) bool {
	m := x.Request()
	value, ok := m.Options.Uint(coap.Observe)
	if !ok || req.Group {
		return false
	}
	switch value {
	case 0:
		if watched, ok := h.(oic.Observer); ok {
			return s.start(x, watched, req)
		}
	case 1:
		s.end(m.Token)
	}
	return false
}

// start begins an observation in the place of one with the same token. It
// reports false if there are too many: then the request is answered once.
func (s *Server) start(x *coap.Exchange, h oic.Observer, req *oic.Request) bool {
	o := &observation{server: s, x: x, token: x.Request().Token, wishes: wishesOf(x.Request())}
	o.ctx, o.cancel = context.WithCancelCause(context.Background())
	s.mu.Lock()
	old := s.observed[o.token]
	if old == nil && len(s.observed) >= maxObserved {
		s.mu.Unlock()
		return false
	}
	if s.observed == nil {
		s.observed = make(map[coap.Token]*observation)
	}
	s.observed[o.token] = o
	s.mu.Unlock()
	if old != nil {
		old.cancel(errUnwatched)
	}
	req.Body = nil // a GET has none
	x.Background(func(ctx context.Context) { o.run(ctx, h, req) })
	return true
}

// end cancels the observation with a token, silently.
func (s *Server) end(t coap.Token) {
	s.mu.Lock()
	o := s.observed[t]
	s.mu.Unlock()
	if o != nil {
		o.cancel(errUnwatched)
	}
}

// EndObservations ends all observations of the peer because of err, which it
// is told: it has signed out, say, or lost a right.
func (s *Server) EndObservations(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.observed {
		o.cancel(err)
	}
}

func (s *Server) remove(o *observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.observed[o.token] == o {
		delete(s.observed, o.token)
	}
}
