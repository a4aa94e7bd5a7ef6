package e2e_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsURL is where a NATS server of this process listens, until the test ends.
func natsURL(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}

// Two clouds share a NATS server, and a device knows both. The first one is
// killed: the device is at the second within 5 s, and is commanded there. It
// stays there when the first comes back, and goes back when the second is gone.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	url := natsURL(t)
	var clouds [2]*child
	for i := range clouds {
		clouds[i] = newChild(t, "--nats", url)
		clouds[i].command = "cloud"
		clouds[i].start()
	}
	first, second := clouds[0], clouds[1]
	lampProcess(t, t.TempDir(), nil, first, second)
	first.await("reachable")
	first.commanded()

	change := func(from, to *child) {
		t.Helper()
		from.kill()
		gone := time.Now()
		to.await("reachable")
		// The other server may still believe that the lamp is where it was; a
		// command to there is refused.
		for again := time.NewTicker(50 * time.Millisecond); ; <-again.C {
			_, err := to.farreach("set", "lamp/a/light", "value=true")
			took := time.Since(gone)
			if err == nil {
				t.Logf("commanded at the other server %v after kill -9", took.Round(time.Millisecond))
				return
			}
			if took > 5*time.Second+busy {
				t.Fatalf("not commanded %v after the first server was killed: %v", took, err)
			}
		}
	}
	change(first, second)
	first.start()
	second.await("reachable")
	second.commanded()
	change(second, first)
}
