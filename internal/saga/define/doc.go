// Package define makes plans of the definitions of sagas: it compiles their expressions, holds them against the contracts of the
// services that are called, and fills the defaults in.
//
// Expressions are CEL (https://cel.dev) with its libraries for texts, lists, mathematics and encodings. They read what a
// saga.Scope holds and nothing else, no clock and no chance, so that a request is the same however often it is made. What an
// expression may cost is bounded.
//
// A value is any JSON whose texts may hold ${expressions}. A text that is one expression and nothing else becomes what the
// expression is, whatever its type; others become text. $${ stands for a plain ${.
//
// Types come from where they are written: of input from its JSON Schema, of steps.NAME from the answer that the OpenAPI document of
// the called service describes, or from the output that the step gives itself, of event.data from the schema of its topic. What
// no schema describes may be anything. A member that a schema with properties does not name cannot be read, unless it says
// additionalProperties. A number is an int where it is whole and a double otherwise, so arithmetic of the two is of doubles. As in CEL the
// quotient of two ints is an int: write input.price / 2.0 where it is to be exact.
//
// Plans are immutable. Their expressions may be evaluated by any number of goroutines at once, each with a scope of its own.
package define
