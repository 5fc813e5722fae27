;; Writes empty log lines without end: the call ends with `host-calls-exceeded`.
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
  (import "bulkhead:plugin/log@0.1.0" (instance $log
    (type $names (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $names)))
    (export "write" (func
      (param "level" $level) (param "message" string)
      (param "fields" (list (tuple string string)))))))

  ;; Memory comes first: the import below reads from it or writes to it.
  (core module $memory
    (memory (export "memory") 32)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0x10000))
  (core instance $memory (instantiate $memory))
  (core func $write (canon lower (func $log "write") (memory (core memory $memory "memory"))))

  (core module $guest
    (import "memory" "memory" (memory 32))
    (import "host" "write" (func $write (param i32 i32 i32 i32 i32)))
    (func (export "apply-filter")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)
      (loop $for_ever
        ;; Level `info`, no message, no fields.
        (call $write (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (br $for_ever))
      unreachable)
    (func (export "on-action")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      i32.const 16))
  (core instance $guest (instantiate $guest
    (with "memory" (instance $memory))
    (with "host" (instance (export "write" (func $write))))))

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
