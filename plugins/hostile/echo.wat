;; Behaves: it leaves each value as it is. Each other guest differs from it in one thing.
(component
  (import "bulkhead:plugin/types@0.1.0" (instance $types
    (type $context (record
      (field "tenant" string) (field "user" (option string)) (field "trace-id" string)
      (field "locale" string) (field "deadline-ms" u64)))
    (export "call-context" (type (eq $context)))
    (type $error (variant
      (case "invalid-input" string) (case "denied" string) (case "not-found" string)
      (case "conflict" string) (case "unavailable" string) (case "internal" string)
      (case "other" (tuple string string))))
    (export "plugin-error" (type (eq $error)))))
  (alias export $types "call-context" (type $call-context))
  (alias export $types "plugin-error" (type $plugin-error))

  (core module $guest
    (memory (export "memory") 32)
    (func (export "apply-filter")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)
      i32.const 16)
    (func (export "on-action")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      i32.const 16)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0x10000))
  (core instance $guest (instantiate $guest))

  (func $apply-filter
    (param "ctx" $call-context) (param "name" string) (param "value" string) (param "args" string)
    (result (result (option string) (error $plugin-error)))
    (canon lift (core func $guest "apply-filter")
      (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))))
  (func $on-action
    (param "ctx" $call-context) (param "name" string) (param "args" string)
    (result (result (error $plugin-error)))
    (canon lift (core func $guest "on-action")
      (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))))
  (instance $hooks
    (export "call-context" (type $call-context)) (export "plugin-error" (type $plugin-error))
    (export "apply-filter" (func $apply-filter)) (export "on-action" (func $on-action)))
  (export "bulkhead:plugin/hooks@0.1.0" (instance $hooks)))
