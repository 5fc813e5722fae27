;; Asks for one random byte more than a call may have (64 KiB): the call ends.
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
  (import "wasi:random/random@0.2.6" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))

  ;; Memory comes first: the import below reads from it or writes to it.
  (core module $memory
    (memory (export "memory") 32)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0x10000))
  (core instance $memory (instantiate $memory))
  (core func $get
    (canon lower (func $random "get-random-bytes")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))

  (core module $guest
    (import "memory" "memory" (memory 32))
    (import "host" "get" (func $get (param i64 i32)))
    (func (export "apply-filter")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)
      (call $get (i64.const 0x10001) (i32.const 64))
      i32.const 16)
    (func (export "on-action")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      i32.const 16))
  (core instance $guest (instantiate $guest
    (with "memory" (instance $memory))
    (with "host" (instance (export "get" (func $get))))))

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
