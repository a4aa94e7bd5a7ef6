package apiclient

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxLine is the longest line of a stream, in bytes: a representation of a
// device and what is around it.
const maxLine = 1 << 20

// Follow calls each for every event from now on that f chooses, or from the
// one after the sequence number from, if that is not 0, until ctx ends, each returns an
// error, or the stream does; then the error is io.ErrUnexpectedEOF, and going
// on after the last event seen misses none.
func (c *Client) Follow(ctx context.Context, f Filter, from uint64, each func(Event) error) error {
	head := http.Header{"Accept": {"text/event-stream"}}
	if from > 0 {
		head.Set("Last-Event-ID", strconv.FormatUint(from, 10))
	}
	f = Filter{Device: f.Device, Href: f.Href}
	query := f.query()
	query.Set("every", "true")
	resp, err := c.send(ctx, http.MethodGet, "/events/stream", query, nil, head)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return followDocs(ctx, resp.Body, "event of "+c.cfg.Base, each)
}

// followDocs calls each for the documents of a stream until ctx ends; what says
// what an unreadable one is.
func followDocs[T any](ctx context.Context, stream io.Reader, what string, each func(T) error) error {
	err := readStream(stream, func(kind, data string) error {
		if kind != "" && kind != "message" {
			return nil // about the stream itself
		}
		var doc T
		if err := json.Unmarshal([]byte(data), &doc); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return each(doc)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// readStream reads server-sent events (HTML standard, section 9.2.6) and calls
// each for every one that has data.
func readStream(r io.Reader, each func(kind, data string) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var kind string
	var data []string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != nil {
				if err := each(kind, strings.Join(data, "\n")); err != nil {
					return err
				}
			}
			kind, data = "", nil
		case field == "event":
			kind = value
		case field == "data":
			data = append(data, value)
		}
	}
	if lines.Err() == bufio.ErrTooLong {
		return lines.Err()
	}
	return io.ErrUnexpectedEOF // a stream has no end of its own
}
