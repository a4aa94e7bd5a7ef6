package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// child is a process that Serve runs in.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	err  bytes.Buffer
	addr string
}

// start starts a server of one kind, which is told first what comes behind that.
// It ends with stop, or with ctx.
func (r *run) start(ctx context.Context, kind string, first ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, r.Program, "bench", "serve", kind)}
	c.cmd.Stderr = &c.err
	c.cmd.WaitDelay = time.Second
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for _, line := range first {
		fmt.Fprintln(c.in, line) // fails if it has ended, which is found out next
	}
	if c.addr, err = c.line(); err != nil {
		c.stop()
		return nil, fmt.Errorf("start %s: %w%s", kind, err, c.said())
	}
	return c, nil
}

// said is what the process wrote in its need.
func (c *child) said() string {
	if text := strings.TrimSpace(c.err.String()); text != "" {
		return ": " + text
	}
	return ""
}

func (c *child) line() (string, error) {
	if !c.out.Scan() {
		return "", fmt.Errorf("the server process ended: %w", io.ErrUnexpectedEOF)
	}
	return c.out.Text(), nil
}

// ask has the process answer one question of Serve with a number.
func (c *child) ask(what string) (int64, error) {
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		return 0, err
	}
	text, err := c.line()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// failed is what the process said before it ended, if it did.
func (c *child) failed() error {
	if text := c.said(); text != "" {
		return errors.New(strings.TrimPrefix(text, ": "))
	}
	return nil
}

// stop ends the process: it does so when nobody asks any more.
func (c *child) stop() {
	c.in.Close()
	c.cmd.Wait() // how it ends does not matter: it has answered
}
