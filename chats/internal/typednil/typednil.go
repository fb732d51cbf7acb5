// Package typednil recognises nil arguments that do not compare equal to nil.
package typednil

import "reflect"

// Is reports whether value is nil, a nil pointer or a nil function.
func Is(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}
