;; Does what the value of its filter, or the argument of its action, says behind its letter LETTER: `A:ik;B:it` is two steps
;; for the plugin of the letter A and two for B.
;; i inserts a row; k adds one to a key; o inserts in a transaction of its own and commits; p does so and leaves it open;
;; t traps; l loops for ever; e answers an error; s answers a number; c answers the count of rows and the key, as "21".
;; What its storage refuses it answers as a conflict with a letter, `a` for the first storage error.
(module
  (import "bulkhead:plugin/sql@0.1.0" "query" (func $query (param i32 i32 i32 i32 i32)))
  (import "bulkhead:plugin/sql@0.1.0" "execute" (func $execute (param i32 i32 i32 i32 i32)))
  (import "bulkhead:plugin/sql@0.1.0" "begin" (func $begin (param i32 i32)))
  (import "bulkhead:plugin/sql@0.1.0" "[method]transaction.execute"
    (func $execute_in (param i32 i32 i32 i32 i32 i32)))
  (import "bulkhead:plugin/sql@0.1.0" "[static]transaction.commit" (func $commit (param i32 i32)))
  (import "bulkhead:plugin/kv@0.1.0" "increment" (func $increment (param i32 i32 i64 i32)))
  (import "bulkhead:plugin/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 4096) "INSERT INTO t (n) VALUES (1)")
  (data (i32.const 4160) "SELECT count(*) FROM t")
  (data (i32.const 4224) "calls")
  (global $next (mut i32) (i32.const 0x10000))
  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  ;; ok, and nothing for a filter.
  (func $nothing (result i32)
    (i64.store (i32.const 16) (i64.const 0))
    (i32.const 16))
  ;; ok(some(the text at 1024))
  (func $text (param $length i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.store8 (i32.const 20) (i32.const 1))
    (i32.store (i32.const 24) (i32.const 1024))
    (i32.store (i32.const 28) (local.get $length))
    (i32.const 16))
  ;; err(conflict(a letter))
  (func $conflict (param $letter i32) (result i32)
    (i32.store8 (i32.const 1024) (local.get $letter))
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store8 (i32.const 20) (i32.const 3))
    (i32.store (i32.const 24) (i32.const 1024))
    (i32.store (i32.const 28) (i32.const 1))
    (i32.const 16))
  ;; The storage error at `at`.
  (func $refused (param $at i32) (result i32)
    (call $conflict (i32.add (i32.const 97) (i32.load8_u (local.get $at)))))
  (func $count (result i32)
    (call $query (i32.const 4160) (i32.const 22) (i32.const 0) (i32.const 0) (i32.const 256))
    (if (i32.load8_u (i32.const 256)) (then (return (call $refused (i32.const 264)))))
    (i32.store8 (i32.const 1024) (i32.const 0x22))
    (i32.store8 (i32.const 1025)
      (i32.add (i32.const 48) (i32.wrap_i64 (i64.load offset=8 (i32.load (i32.load (i32.const 272)))))))
    (call $get (i32.const 4224) (i32.const 5) (i32.const 256))
    (if (i32.load8_u (i32.const 256)) (then (return (call $refused (i32.const 264)))))
    (i32.store8 (i32.const 1026)
      (if (result i32) (i32.load8_u (i32.const 264))
        (then (i32.load8_u (i32.load (i32.const 272))))
        (else (i32.const 48))))
    (i32.store8 (i32.const 1027) (i32.const 0x22))
    (call $text (i32.const 4)))

  (func $steps (param $at i32) (param $length i32) (result i32)
    (local $end i32)
    (local $step i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $found
      (loop $next
        (if (i32.ge_u (i32.add (local.get $at) (i32.const 1)) (local.get $end)) (then (return (call $nothing))))
        (br_if $found (i32.and
          (i32.eq (i32.load8_u (local.get $at)) (i32.const LETTER))
          (i32.eq (i32.load8_u offset=1 (local.get $at)) (i32.const 0x3a))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.set $at (i32.add (local.get $at) (i32.const 2)))
    (loop $again
      (if (i32.ge_u (local.get $at) (local.get $end)) (then (return (call $nothing))))
      (local.set $step (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      ;; i
      (if (i32.eq (local.get $step) (i32.const 0x69)) (then
        (call $execute (i32.const 4096) (i32.const 28) (i32.const 0) (i32.const 0) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then (return (call $refused (i32.const 264)))))
        (br $again)))
      ;; k
      (if (i32.eq (local.get $step) (i32.const 0x6b)) (then
        (call $increment (i32.const 4224) (i32.const 5) (i64.const 1) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then (return (call $refused (i32.const 264)))))
        (br $again)))
      ;; o and p
      (if (i32.or (i32.eq (local.get $step) (i32.const 0x6f)) (i32.eq (local.get $step) (i32.const 0x70))) (then
        (call $begin (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (call $refused (i32.const 516)))))
        (call $execute_in (i32.load (i32.const 516))
          (i32.const 4096) (i32.const 28) (i32.const 0) (i32.const 0) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then (return (call $refused (i32.const 264)))))
        (if (i32.eq (local.get $step) (i32.const 0x6f)) (then
          (call $commit (i32.load (i32.const 516)) (i32.const 256))
          (if (i32.load8_u (i32.const 256)) (then (return (call $refused (i32.const 260)))))))
        (br $again)))
      ;; t
      (if (i32.eq (local.get $step) (i32.const 0x74)) (then unreachable))
      ;; l
      (if (i32.eq (local.get $step) (i32.const 0x6c)) (then (loop $for_ever (br $for_ever))))
      ;; e
      (if (i32.eq (local.get $step) (i32.const 0x65)) (then (return (call $conflict (i32.const 0x7a)))))
      ;; s
      (if (i32.eq (local.get $step) (i32.const 0x73)) (then
        (i32.store8 (i32.const 1024) (i32.const 0x37))
        (return (call $text (i32.const 1)))))
      ;; c
      (if (i32.eq (local.get $step) (i32.const 0x63)) (then (return (call $count)))))
    (call $nothing))

  ;; Context (10 values), name, value or arguments.
  (func (export "bulkhead:plugin/hooks@0.1.0#apply-filter")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (param $value i32) (param $length i32) (param i32 i32)
    (result i32)
    (call $steps (local.get $value) (local.get $length)))
  (func (export "bulkhead:plugin/hooks@0.1.0#on-action")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (param $args i32) (param $length i32)
    (result i32)
    (call $steps (local.get $args) (local.get $length))))
