package rae

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
	"github.com/farreach/farreach/xmpp/ibb"
)

// IoTivity sends CoAP in the framing of datagrams over bytestreams, a message in
// each block, and names a session after the token of the request that it is
// there for (D20, E-11). Who begins so is answered so, on the same session; only
// peers that are listed are asked so.

// rawBlock is the size of IoTivity's blocks, bytes.
const rawBlock = 4096

// takeRaw takes a block that must be a message.
func (se *session) takeRaw(block []byte) error {
	var m coap.Message
	if _, err := m.Parse(coap.UDP, block, len(block)); err != nil {
		if m.Type == coap.Confirmable && m.ID != 0 {
			return se.say(coap.Reset, m.ID, nil)
		}
		return &FormatError{"no message: " + err.Error(), "RFC 7252, section 3"}
	}
	switch {
	case m.Code.IsRequest():
		return se.rawRequest(&m)
	case m.Code.IsResponse() && m.Type == coap.Confirmable:
		return se.say(coap.Acknowledgement, m.ID, func() { se.rawAnswer(&m) })
	case m.Code.IsResponse():
		se.rawAnswer(&m)
	case m.Type == coap.Reset:
		se.reset(m.ID)
	case m.Type == coap.Confirmable: // a ping
		return se.say(coap.Reset, m.ID, nil)
	}
	return nil
}

// say sends an empty message and calls then, but does not wait for that.
func (se *session) say(t coap.Type, id uint16, then func()) error {
	m := coap.Message{Type: t, ID: id}
	b, err := m.Append(coap.UDP, nil)
	if err != nil {
		return err
	}
	return se.schedule(job{se: se, call: &Call{Meta: Meta{Token: "empty"}}, raw: &m, say: b, then: then, size: 512})
}

// reset ends the observation whose last notification the peer refuses.
func (se *session) reset(id uint16) {
	se.x.mu.Lock()
	defer se.x.mu.Unlock()
	for _, w := range se.joinLocked().watches {
		if w.conn == se.conn && w.message == id {
			w.endLocked()
		}
	}
}

// rawRequest has a request served.
func (se *session) rawRequest(m *coap.Message) error {
	j := job{se: se, raw: m, size: len(m.Payload) + 512, call: &Call{Meta: Meta{Token: m.Token.String()}}}
	req, err := oiccoap.ToRequest(m)
	if err != nil {
		j.refusal = err
		return se.schedule(j)
	}
	j.call.Request = *req
	if v, ok := m.Options.Uint(coap.Observe); ok && req.Op == oic.Retrieve && v <= 1 {
		j.call.Observe = Register
		if v == 1 {
			j.call.Observe = Cancel
		}
	}
	return se.schedule(j)
}

// sendRawAnswer sends an answer to a request that came as raw CoAP: the first one
// acknowledges it.
func (se *session) sendRawAnswer(a *Answer, j *job, first bool, w *watch) error {
	m := rawMessage(a, j.raw)
	se.x.mu.Lock()
	if first && j.raw.Type == coap.Confirmable {
		m.Type, m.ID = coap.Acknowledgement, j.raw.ID
	} else {
		se.x.message++
		m.Type, m.ID = coap.NonConfirmable, se.x.message
	}
	if w != nil {
		w.message = m.ID
	}
	se.x.mu.Unlock()
	b, err := m.Append(coap.UDP, nil)
	if err != nil {
		return err
	}
	if len(b) > se.conn.Block() { // there is no way to put parts together
		small := oiccoap.ToReply(j.raw, nil, oic.Errorf(oic.Internal, "the answer is too large for this session"))
		small.Type, small.ID, small.Token = m.Type, m.ID, m.Token
		if b, err = small.Append(coap.UDP, nil); err != nil {
			return err
		}
	}
	return se.conn.Send(se.ctx, b)
}

// rawMessage is a as the answer to req, but for its type and Message ID.
func rawMessage(a *Answer, req *coap.Message) *coap.Message {
	var refusal error
	if a.Refusal != nil {
		refusal = a.Refusal
	}
	m := oiccoap.ToReply(req, a.Response, refusal)
	m.Token = req.Token
	if a.Observed {
		m.AddUint(coap.Observe, a.Sequence)
	}
	for _, tag := range a.ETags {
		m.AddString(coap.ETag, tag)
	}
	if a.MaxAge != 0 && refusal == nil {
		m.AddUint(coap.MaxAge, uint32(max(0, a.MaxAge)/time.Second))
	}
	return m
}

// rawToken is a token of 64 random bits, which can be the name of a session.
func rawToken() string {
	var b [coap.MaxToken]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// writeRaw writes c as a message.
func (p *peer) writeRaw(buf *[]byte, c *Call) error {
	m := oiccoap.ToMessage(&c.Request)
	switch c.Observe {
	case Register:
		m.AddUint(coap.Observe, 0)
	case Cancel:
		m.AddUint(coap.Observe, 1)
	}
	for _, tag := range c.IfMatch {
		m.AddString(coap.IfMatch, tag)
	}
	for _, tag := range c.ETags {
		m.AddString(coap.ETag, tag)
	}
	if c.IfNothing {
		m.Add(coap.IfNoneMatch, nil)
	}
	token, err := hex.DecodeString(c.Token)
	if err != nil || len(token) > coap.MaxToken {
		return fmt.Errorf("rae: %q is no token of CoAP", c.Token)
	}
	m.Type, m.Token = coap.Confirmable, coap.MakeToken(token)
	p.x.mu.Lock()
	p.x.message++
	m.ID = p.x.message
	p.x.mu.Unlock()
	*buf, err = m.Append(coap.UDP, (*buf)[:0])
	return err
}

// rawSession opens the session for q, which takes n bytes: it has the name of the
// token, by which IoTivity looks it up.
func (p *peer) rawSession(ctx context.Context, q *pending, n int) (*session, error) {
	if n > rawBlock {
		return nil, oic.Errorf(oic.TooLarge, "a request of %d bytes is too large for the peer", n)
	}
	ctx, cancel := context.WithTimeout(ctx, p.x.cfg.timeout)
	defer cancel()
	c, err := p.x.ibb.Offer(ctx, p.s, p.jid, q.call.Token, ibb.IQ, rawBlock)
	if err != nil {
		return nil, fmt.Errorf("rae: no session with %s: %w", p.jid, err)
	}
	se := c.Receiver().(*session)
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	if se.over {
		return nil, fmt.Errorf("rae: no session with %s: %w", p.jid, ibb.ErrGone)
	}
	se.ours, se.apart, se.inOrder = true, true, q
	se.joinLocked()
	q.se = se
	return se, nil
}

// rawAnswer hands an answer to whoever asked.
func (se *session) rawAnswer(m *coap.Message) {
	q, p := se.find(m.Token.String())
	if q == nil {
		return
	}
	a, err := parseRaw(m)
	se.deliver(p, q, a, err)
}

// parseRaw is an answer that came as raw CoAP.
func parseRaw(m *coap.Message) (*Answer, error) {
	a := new(Answer)
	resp, err := oiccoap.FromResponse(m)
	if refusal, ok := err.(*oic.StatusError); ok && m.Code.Class() != 2 {
		a.Refusal = refusal
	} else if err != nil {
		return nil, err
	} else {
		a.Response = resp
	}
	if v, ok := m.Options.Uint(coap.Observe); ok {
		a.Observed, a.Sequence = true, v&(1<<24-1)
	}
	if o, ok := m.Options.Get(coap.ETag); ok {
		a.ETags = []string{string(o.Value)}
	}
	if v, ok := m.Options.Uint(coap.MaxAge); ok && a.Response != nil {
		if a.MaxAge = time.Duration(v) * time.Second; v == 0 {
			a.MaxAge = -1
		}
	}
	return a, nil
}
