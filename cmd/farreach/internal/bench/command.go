package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// command measures a person's command through the cloud to a device and back,
// one after the other, beside the same bytes through a relay that only copies.
func (r *run) command(ctx context.Context, s *server, m *meter) error {
	r.Progress("commands through the cloud")
	bare, err := relay(ctx, r.For/4)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	l, err := cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: s.uri(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.SignIn(ctx, cloudlink.Login{Access: s.token}); err != nil {
		return err
	}
	way := l.Device(m.id)
	took, err := timed(r.For, func() error {
		resp, err := way.Handle(ctx, &oic.Request{Op: oic.Update, Href: meterLink.Href, Format: oic.OCF, Accept: oic.OCF, Body: state(1)})
		if err == nil && resp.Status != oic.Changed {
			err = fmt.Errorf("the device answered %v", resp.Status)
		}
		return err
	})
	if err != nil {
		return err
	}
	note := fmt.Sprintf("p99 %.2f ms of %d; echo: a bare relay", millis(quantile(took, 0.99)), len(took))
	r.add(Figure{Name: "command", What: "command to a device, median", Unit: "ms", Aim: aimCommand, AtMost: true,
		Measured: millis(quantile(took, 0.5)), Echo: millis(quantile(bare, 0.5)), Note: note})
	return nil
}

// timed calls f again and again for d, and returns how long each call took.
func timed(d time.Duration, f func() error) (took []time.Duration, err error) {
	for end := time.Now().Add(d); len(took) == 0 || time.Now().Before(end); {
		start := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// commandBytes is about the length of a command on the wire.
const commandBytes = 70

// relay measures the way through two copying goroutines and back from an echo.
func relay(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer far.Close()
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer near.Close()
	go echo(far, nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		copyThrough(near, far.Addr().String())
	}()
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", near.Addr().String())
	if err != nil {
		return nil, err
	}
	b := make([]byte, commandBytes)
	took, err := timed(d, func() error { return client{nc}.ask(b, b) })
	nc.Close()
	<-ended
	return took, err
}

// copyThrough takes one connection and joins it to another, until it ends.
func copyThrough(ln net.Listener, to string) {
	nc, err := ln.Accept()
	if err != nil {
		return
	}
	defer nc.Close()
	onward, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	back := make(chan struct{})
	go func() { defer close(back); io.Copy(nc, onward) }()
	io.Copy(onward, nc)
	onward.Close()
	<-back
}
