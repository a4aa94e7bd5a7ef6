package coap

import (
	"context"
	"net"
	"sync"
	"time"
)

// Serve accepts connections until ctx ends, and runs each. accept returns the
// Conn to run, or nil to refuse.
//
// When ctx ends, Serve closes ln, asks all peers for an orderly end (Release),
// gives that 5 s, closes what is left, and returns ctx.Err() after the last
// connection has ended.
func Serve(ctx context.Context, ln net.Listener, accept func(nc net.Conn) *Conn) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	for wait := time.Duration(0); ; {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return ctx.Err()
		case err != nil:
			if te, ok := err.(interface{ Temporary() bool }); !ok || !te.Temporary() {
				return err
			}
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			continue
		}
		wait = 0
		c := accept(nc)
		if c == nil {
			nc.Close()
			continue
		}
		tasks.Go(func() { c.Run(ctx) })
	}
}
