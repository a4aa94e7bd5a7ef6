package coap

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// echoLife is how long a value of the Echo option proves an address.
const echoLife = 60 * time.Second

const (
	echoTime = 4 // bytes: when it was made, seconds since Endpoint.born
	echoMAC  = 8 // bytes: who may use it
)

// echo makes the values of the Echo option (RFC 9175, section 2), by which a
// peer proves that it receives what is sent to its address. The endpoint keeps
// nothing for it.
type echo struct{ key [32]byte }

func newEcho() (e echo) {
	rand.Read(e.key[:])
	return e
}

func (e *echo) sum(to netip.AddrPort, at uint32) [echoTime + echoMAC]byte {
	var value [echoTime + echoMAC]byte
	binary.BigEndian.PutUint32(value[:], at)
	mac := hmac.New(sha256.New, e.key[:])
	mac.Write(value[:echoTime])
	text, _ := to.MarshalBinary()
	mac.Write(text)
	copy(value[echoTime:], mac.Sum(nil))
	return value
}

// value is what to has to send back.
func (e *echo) value(to netip.AddrPort, now time.Duration) []byte {
	value := e.sum(to, uint32(now/time.Second))
	return value[:]
}

// proves reports whether value was sent to from, and lately.
func (e *echo) proves(value []byte, from netip.AddrPort, now time.Duration) bool {
	if len(value) != echoTime+echoMAC {
		return false
	}
	at := binary.BigEndian.Uint32(value)
	if age := now - time.Duration(at)*time.Second; age < 0 || age > echoLife {
		return false
	}
	want := e.sum(from, at)
	return hmac.Equal(value, want[:])
}

// withEcho returns a copy of req that has the Echo option of resp.
func withEcho(req, resp *Message) *Message {
	o, ok := resp.Options.Get(Echo)
	if !ok || len(o.Value) == 0 || len(o.Value) > 40 || req.Options.Has(Echo) {
		return nil
	}
	m := req.Clone()
	m.Add(Echo, append([]byte(nil), o.Value...))
	return m
}
