// Package ports finds ports for programs that have to be told theirs, because
// they do not say which they got.
//
//	Hold(3) ──▶ 61,000 to 65,535, where the system hands none out
//	   │            free on 127.0.0.1, for TCP and for datagrams
//	   └──────▶ the same ports on 127.0.0.2, held until Release: whoever else
//	            asks here, in any process, is given others
//
// A port that was bound to 0 and let go can be anybody's by the time that a
// program that takes seconds to start asks for it.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// The ports above those that Linux gives to outgoing connections, and to who asks
// for any (ip_local_port_range).
const (
	least = 61_000
	most  = 65_535
)

// tries is how often a place is looked for.
const tries = 1000

// Held are neighbouring ports, from First on.
type Held struct {
	First int

	tokens []net.Listener
}

// Hold finds n neighbouring ports, a handful, that are free on 127.0.0.1. The caller
// releases them when the program has ended.
func Hold(n int) (*Held, error) {
	for range tries {
		h := &Held{First: least + rand.IntN(most-least-n+2)}
		if h.take(n) {
			return h, nil
		}
		h.Release()
	}
	return nil, fmt.Errorf("no %d neighbouring ports are free", n)
}

// Release lets others have the ports.
func (h *Held) Release() {
	for _, ln := range h.tokens {
		_ = ln.Close() // nobody connects to it
	}
	h.tokens = nil
}

// take reports whether all are free.
func (h *Held) take(n int) bool {
	for port := h.First; port < h.First+n; port++ {
		token, err := net.Listen("tcp4", at("127.0.0.2", port))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return false
		case err == nil: // else there is no such address here, and nothing to hold it by
			h.tokens = append(h.tokens, token)
		}
		ln, err := net.Listen("tcp4", at("127.0.0.1", port))
		if err != nil {
			return false
		}
		_ = ln.Close() // it was open for a moment
		pc, err := net.ListenPacket("udp4", at("127.0.0.1", port))
		if err != nil {
			return false
		}
		_ = pc.Close() // as well
	}
	return true
}

func at(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
