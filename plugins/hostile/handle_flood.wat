;; Makes timers without end and drops none: the call ends with `handles-exceeded`, or with
;; `host-calls-exceeded` where fewer calls than handles are allowed.
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
  (import "wasi:io/poll@0.2.6" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $pollable (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))

  ;; Memory comes first: the import below reads from it or writes to it.
  (core module $memory
    (memory (export "memory") 32)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0x10000))
  (core instance $memory (instantiate $memory))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))

  (core module $guest
    (import "memory" "memory" (memory 32))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (func (export "apply-filter")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)
      (loop $for_ever
        (drop (call $subscribe (i64.const 1)))
        (br $for_ever))
      unreachable)
    (func (export "on-action")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      i32.const 16))
  (core instance $guest (instantiate $guest
    (with "memory" (instance $memory))
    (with "host" (instance (export "subscribe" (func $subscribe))))))

  (func $apply-filter
    (param "ctx" $call-context) (param "name" string) (param "value" string) (param "args" string)
    (result (result (option string) (error $plugin-error)))
    (canon lift (core func $guest "apply-filter")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $on-action
    (param "ctx" $call-context) (param "name" string) (param "args" string)
    (result (result (error $plugin-error)))
    (canon lift (core func $guest "on-action")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $hooks
    (export "call-context" (type $call-context)) (export "plugin-error" (type $plugin-error))
    (export "apply-filter" (func $apply-filter)) (export "on-action" (func $on-action)))
  (export "bulkhead:plugin/hooks@0.1.0" (instance $hooks)))
