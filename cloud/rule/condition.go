package rule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/farreach/farreach/oic"
)

// The limits of what a condition may cost.
const (
	maxCondition  = 4 << 10 // bytes of an expression
	maxCost       = 50_000  // units of cost that one evaluation may take
	maxEvaluation = 8 * time.Millisecond
	checkEvery    = 100 // turns of a loop between two looks at the clock
	maxDepth      = 50  // of an expression
	maxPattern    = 64  // instructions of a pattern
	perByte       = 6   // units of cost for each byte that such a pattern looks at
)

// MaxEstimate is what an expression may need in the worst case, in units of
// cost.
const MaxEstimate = 1_000_000

// What the representation of a device holds at most; see oic.Decode.
const (
	maxElements = 16_384
	maxText     = maxDecoded
)

// Condition is a CEL expression that has been compiled: whether a rule's
// trigger holds for an event. It may be used by several goroutines at once.
//
// In an expression stand
//
//	event   the representation: event.value, event.temperature
//	device  which device it is: device.id, device.name, device.type
//	href    of which resource: "/a/light"
//	now     when the event was received
type Condition struct {
	Text string
	Type string // of the result: "bool", or "dyn" if only an evaluation tells
	Cost uint64 // the most that one evaluation may need, in units of CEL

	program cel.Program
	watched bool
}

// ConditionError says what is wrong with an expression, and where.
type ConditionError struct {
	Line   int // from 1; 0: it is about the whole
	Column int // from 1, in characters
	Why    string
}

func (e *ConditionError) Error() string {
	if e.Line == 0 {
		return e.Why
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Why)
}

// environment is made at its first use, for it takes some milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("event", cel.DynType),
		cel.Variable("device", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("href", cel.StringType),
		cel.Variable("now", cel.TimestampType),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ParserRecursionLimit(maxDepth),
		cel.RegexProgramSizeLimit(maxPattern),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals()),
	)
})

// Compile reads an expression whose result is to be true or false. The error
// is a *ConditionError.
func Compile(text string) (*Condition, error) {
	c, err := compile(text)
	if err == nil && c.Type != "bool" && c.Type != "dyn" {
		return nil, &ConditionError{Why: fmt.Sprintf("gives %s, and must be true or false", c.Type)}
	}
	return c, err
}

// compile is Compile for a result of any type.
func compile(text string) (*Condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	if len(text) > maxCondition {
		return nil, &ConditionError{Why: fmt.Sprintf("longer than %d bytes", maxCondition)}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &ConditionError{Why: "is empty"}
	}
	ast, issues := env.Compile(text)
	if err := conditionError(issues); err != nil {
		return nil, err
	}
	c := &Condition{Text: text, Type: ast.OutputType().String(), Cost: math.MaxUint64}
	if estimate, err := env.EstimateCost(ast, sizes{}); err == nil {
		c.Cost = estimate.Max
	}
	if c.Cost > MaxEstimate {
		return nil, &ConditionError{Why: fmt.Sprintf("may cost %s, more than %d", units(c.Cost), MaxEstimate)}
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if c.watched = c.Cost > maxCost; c.watched { // else it cannot take more
		options = append(options, cel.CostLimit(maxCost), cel.CostTracking(sizes{}), cel.InterruptCheckFrequency(checkEvery))
	}
	if c.program, err = env.Program(ast, options...); err != nil {
		return nil, &ConditionError{Why: err.Error()}
	}
	return c, nil
}

func units(n uint64) string {
	if n == math.MaxUint64 {
		return "any amount"
	}
	return fmt.Sprint(n)
}

// conditionError is the first thing that is wrong, if anything is.
func conditionError(issues *cel.Issues) error {
	if issues.Err() == nil {
		return nil
	}
	first := &ConditionError{Why: issues.Err().Error()}
	for _, e := range issues.Errors() {
		at := &ConditionError{max(e.Location.Line(), 0), e.Location.Column() + 1, strings.TrimPrefix(e.Message, "Syntax error: ")}
		if first.Line == 0 || cmp.Or(cmp.Compare(at.Line, first.Line), cmp.Compare(at.Column, first.Column)) < 0 {
			first = at
		}
	}
	return first
}

// sizes tells the estimation of costs how large representations are at most.
type sizes struct{}

// EstimateSize implements cost.Estimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		return nil
	}
	switch {
	case path[0] != "event":
		return &cost.SizeEstimate{Min: 0, Max: 256}
	case n.Type().Kind() == types.StringKind || n.Type().Kind() == types.BytesKind:
		return &cost.SizeEstimate{Min: 0, Max: maxText}
	}
	return &cost.SizeEstimate{Min: 0, Max: maxElements}
}

// EstimateCallCost implements cost.Estimator. CEL counts patterns as if each
// byte were looked at once.
func (s sizes) EstimateCallCost(function, _ string, target *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	if function != "matches" {
		return nil
	}
	if target == nil && len(args) > 0 {
		target = &args[0]
	}
	longest := uint64(maxText)
	if target != nil {
		if size := (*target).ComputedSize(); size != nil {
			longest = size.Max
		}
	}
	return &cost.CallEstimate{CostEstimate: cost.Estimate{Min: 1, Max: longest*perByte + 1}}
}

// CallCost implements cost.ActualCostEstimator.
func (sizes) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	if function != "matches" || len(args) == 0 {
		return nil
	}
	s, _ := args[0].Value().(string)
	n := uint64(len(s))*perByte + 1
	return &n
}

// errNotBool is a condition that turned out to be something else.
var errNotBool = errors.New("neither true nor false")

// holds evaluates c. An expression that cannot be evaluated, as one about a
// property that is not there, is an error.
func (c *Condition) holds(in *input) (bool, error) {
	v, err := c.value(in)
	if err != nil {
		return false, err
	}
	if b, ok := v.(bool); ok {
		return b, nil
	}
	return false, errNotBool
}

// value evaluates c.
func (c *Condition) value(in *input) (any, error) {
	if !c.watched {
		v, _, err := c.program.Eval(in)
		if err != nil {
			return nil, err
		}
		return v.Value(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxEvaluation)
	defer cancel()
	v, _, err := c.program.ContextEval(ctx, in)
	if err != nil {
		return nil, err
	}
	return v.Value(), nil
}

// input is what an expression is about. It implements cel.Activation.
type input struct {
	event any
	about Device
	href  string
	now   time.Time

	device map[string]string // about, made at the first need
	object object            // event, if it is an object
}

// represents makes rep the event.
func (in *input) represents(rep oic.Item) {
	if !rep.IsObject() {
		in.event = rep.Value()
		return
	}
	in.object.item = rep
	in.event = &in.object
}

// ResolveName implements cel.Activation.
func (in *input) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return in.event, true
	case "device":
		if in.device == nil {
			in.device = map[string]string{"id": in.about.ID, "name": in.about.Name, "type": in.about.Type}
		}
		return in.device, true
	case "href":
		return in.href, true
	case "now":
		return in.now, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (in *input) Parent() cel.Activation { return nil }
