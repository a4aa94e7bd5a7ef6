package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// exportInput selects what is exported, and how it is written.
type exportInput struct {
	SelectInput
	From   uint64 `query:"from" doc:"from this seq on"`
	Format string `query:"format" enum:"ndjson,csv" doc:"none: as Accept says, else ndjson"`
	Accept string `header:"Accept"`
}

// The media types of an export.
const (
	typeNDJSON = "application/x-ndjson"
	typeCSV    = "text/csv"
)

func (in *exportInput) csv() bool {
	return in.Format == "csv" || in.Format == "" && strings.Contains(in.Accept, typeCSV)
}

// exportRoute serves all events of a stretch of time, oldest first, however
// many there are. They pass through one at a time.
func (h *Handler) exportRoute() {
	op := operation(http.MethodGet, "/api/v1/events/export", "export-events",
		"Export what the account's devices reported, oldest first", "events", 200, 403, 404, 503)
	text := &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "All events, one on each line: as an Event, or as a row under a head. An export that ends before its end is cut off: its last chunk is missing.",
		Content:     map[string]*huma.MediaType{typeNDJSON: text, typeCSV: text},
	}}
	huma.Register(h.huma, op, func(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { h.export(ctx, asker(ctx.Context()), in) }}, nil
	})
}

// export counts as a stream of the account: it may take long.
func (h *Handler) export(hc huma.Context, who oic.Identity, in *exportInput) {
	done, ok := h.load.openStream(who.Account)
	if !ok {
		h.refuse(hc, oic.Errorf(oic.TooMany, "more than %d streams of one account", maxStreams))
		return
	}
	defer done()
	ctx := hc.Context()
	_, w := humago.Unwrap(hc)
	out := newExport(w, in.csv())
	f := in.filter()
	f.From = in.From
	name := h.names(ctx, who)
	var failed error
	err := h.cloud.AllEvents(ctx, who, f, func(ev event.Event) bool {
		failed = out.add(h.event(ev, name(ev.Device)))
		return failed == nil
	})
	if err == nil && !out.begun { // it can still be an answer
		err = h.known(ctx, who, f.Device)
	}
	switch {
	case failed != nil:
		h.log.Debug("export cut", "account", who.Account, "err", failed)
	case err != nil && !out.begun:
		h.refuse(hc, err)
	case err != nil:
		h.log.Warn("export broken off", "account", who.Account, "err", err)
		panic(http.ErrAbortHandler) // the client sees that it is not all
	default:
		_ = out.flush() // the client's loss
	}
}

// export writes events as they come.
type export struct {
	w       http.ResponseWriter
	control *http.ResponseController
	csv     *csv.Writer  // nil: JSON, one document on each line
	text    bytes.Buffer // not written yet
	begun   bool         // the answer has
}

func newExport(w http.ResponseWriter, asCSV bool) *export {
	x := &export{w: w, control: http.NewResponseController(w)}
	if asCSV {
		x.csv = csv.NewWriter(&x.text)
		x.text.WriteString(strings.Join(exportHead, ",") + "\n")
	}
	return x
}

// exportHead names the columns of CSV.
var exportHead = []string{"seq", "time", "device_time", "late", "di", "name", "href", "rep"}

func (x *export) add(e Event) error {
	if x.csv != nil {
		if err := x.csv.Write(row(e)); err != nil {
			return err
		}
		x.csv.Flush()
	} else {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		x.text.Write(b)
		x.text.WriteByte('\n')
	}
	if x.begun && x.text.Len() < longWrite {
		return nil
	}
	return x.flush() // the first one at once: who waits learns that there is an answer
}

// row is an event as a row of CSV. What is not JSON is base64 there. A name that
// a spreadsheet would take for a formula gets a quote before it: names come from
// devices.
func row(e Event) []string {
	rep, late, own, name := string(e.Rep), "", "", e.Name
	if e.Format != "" {
		b, _ := json.Marshal(e.Raw) // a string always can be
		rep = string(b)
	}
	if e.Late {
		late = "late"
	}
	if !e.Own.IsZero() {
		own = e.Own.Format(time.RFC3339Nano)
	}
	if name != "" && strings.ContainsRune("=+-@\t\r", rune(name[0])) {
		name = "'" + name
	}
	return []string{strconv.FormatUint(e.Seq, 10), e.Time.Format(time.RFC3339Nano), own, late, e.Device, name, e.Href, rep}
}

// flush writes what was added.
func (x *export) flush() error {
	if !x.begun {
		kind := typeNDJSON
		if x.csv != nil {
			kind = typeCSV + "; charset=utf-8; header=present"
		}
		x.w.Header().Set("Content-Type", kind)
		x.begun = true
	}
	_ = x.control.SetWriteDeadline(time.Now().Add(answerTime))
	_, err := x.w.Write(x.text.Bytes())
	x.text.Reset()
	if err != nil {
		return err
	}
	return x.control.Flush()
}
