;; Answers a JSON string of 1 MiB and two quotes: the call ends with `response-too-large`.
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
    (memory (export "memory") 49)
    (func (export "apply-filter")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)
      (memory.fill (i32.const 0x200000) (i32.const 0x61) (i32.const 0x100002))
      (i32.store8 (i32.const 0x200000) (i32.const 0x22))
      (i32.store8 (i32.const 0x300001) (i32.const 0x22))
      ;; `ok(some(text))`: two tags, then where the text is and how long.
      (i32.store8 (i32.const 20) (i32.const 1))
      (i32.store (i32.const 24) (i32.const 0x200000))
      (i32.store (i32.const 28) (i32.const 0x100002))
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
