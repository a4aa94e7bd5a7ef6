package e2e_test

import (
	"context"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestStopAnswers: "farreach up" that is told to stop says at once that it is not
// ready, and ends when what a device was asked to do is done and answered.
func TestStopAnswers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	node := newChild(t, "--drain", "300ms")
	node.start()
	c.nodes = [3]*child{node, node, node}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	c.join(ctx, &running, 0)
	within(t, patience, func() bool { return c.registered() })
	o := &orders{cluster: c}
	o.sending.Go(func() { o.tell(0, 0, slow) })
	within(t, patience, func() bool { return c.lamps[0].hearing.begun.Load() > 0 })
	begin := time.Now()
	if err := node.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	within(t, patience, func() bool { return node.ready() == http.StatusServiceUnavailable })
	c.finish()
	<-node.dead
	ended := time.Since(begin)
	o.sending.Wait()
	o.compare(0)
	if code := node.cmd.ProcessState.ExitCode(); code != 0 || ended > 10*time.Second+busy {
		t.Errorf("ended with status %d after %v", code, ended)
	}
}
