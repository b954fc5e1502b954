package define

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// CEL knows no arithmetic of an int with a double. In JSON 5 and 5.5 are both numbers, and which of the two a value is depends on
// the data: so here an int that meets a double is taken as one.

// mixedOverloads declares that arithmetic to the checker; mixed carries it out.
func mixedOverloads() []cel.EnvOption {
	var out []cel.EnvOption
	for name, id := range map[string]string{operators.Add: "add", operators.Subtract: "subtract", operators.Multiply: "multiply", operators.Divide: "divide"} {
		out = append(out, cel.Function(name,
			cel.Overload(id+"_int64_double", []*cel.Type{cel.IntType, cel.DoubleType}, cel.DoubleType),
			cel.Overload(id+"_double_int64", []*cel.Type{cel.DoubleType, cel.IntType}, cel.DoubleType)))
	}
	return out
}

// mixed takes the place of a call of + - * or /.
type mixed struct {
	interpreter.InterpretableCall
	left, right interpreter.InterpretableV2
}

func decorate(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	switch call.Function() {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		args := call.Args()
		if len(args) != 2 {
			return nil, fmt.Errorf("%s with %d operands", call.Function(), len(args))
		}
		return &mixed{call, args[0], args[1]}, nil
	}
	return i, nil
}

// Exec implements interpreter.InterpretableV2.
func (m *mixed) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return m.apply(m.left.Exec(frame), m.right.Exec(frame))
}

// Eval implements interpreter.Interpretable.
func (m *mixed) Eval(a interpreter.Activation) ref.Val {
	return m.apply(m.left.Eval(a), m.right.Eval(a))
}

func (m *mixed) apply(left, right ref.Val) ref.Val {
	if types.IsUnknownOrError(left) {
		return left
	}
	if types.IsUnknownOrError(right) {
		return right
	}
	switch l := left.(type) {
	case types.Int:
		if _, ok := right.(types.Double); ok {
			left = types.Double(l)
		}
	case types.Double:
		if r, ok := right.(types.Int); ok {
			right = types.Double(r)
		}
	}
	switch m.Function() {
	case operators.Add:
		if l, ok := left.(traits.Adder); ok {
			return l.Add(right)
		}
	case operators.Subtract:
		if l, ok := left.(traits.Subtractor); ok {
			return l.Subtract(right)
		}
	case operators.Multiply:
		if l, ok := left.(traits.Multiplier); ok {
			return l.Multiply(right)
		}
	case operators.Divide:
		if l, ok := left.(traits.Divider); ok {
			return l.Divide(right)
		}
	}
	return types.MaybeNoSuchOverloadErr(left)
}
