//! One forward pass over the bytes of a component: counts, sizes, our sections, names of imports and exports.
//! It does not validate; a file that passes is small enough for the validator and, later, the compiler.

use bulkhead_model::Code;
use serde::{Deserialize, Serialize};
use wasmparser::{
    BinaryReaderError as ParseError, ComponentExternalKind, ComponentTypeRef, Encoding, FunctionBody, Operator, Parser,
    Payload, WasmFeatures,
};

use crate::refusal::{Refusal, shown};
use crate::sections::Sections;

/// What components may use: exactly what the engine is configured for. No threads, exceptions, garbage collection,
/// typed function references, nor the component model's async and error contexts.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC_TYPES);

/// Deepest nesting of modules and components.
pub const DEPTH_MAX: usize = 8;
/// Most nested components.
pub const COMPONENTS_MAX: u64 = 64;
/// Most bytes of all type sections together: the validator's memory grows with them.
pub const TYPE_BYTES_MAX: u64 = 2 << 20;
/// Most entries of all sections without code: imports of modules, aliases, instances, exports, globals and so on.
pub const ENTRIES_MAX: u64 = 200_000;
/// Most exports of the component itself.
pub const EXPORTS_MAX: u64 = 100;

/// Declares a struct with one number for each thing that is counted, its doc comment before it.
macro_rules! measures {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        pub struct $name {
            /// Bytes of the file.
            pub file_bytes: u64,
            /// Bytes of all code together.
            pub code_bytes: u64,
            /// Bytes of the largest function body.
            pub function_bytes: u64,
            /// Functions with a body.
            pub functions: u64,
            /// Locals of the function with the most.
            pub locals: u64,
            /// Blocks inside each other in the function with the most.
            pub nesting: u64,
            /// Imports of the component itself.
            pub imports: u64,
            /// Core modules.
            pub modules: u64,
            /// Sections, at every depth.
            pub sections: u64,
        }

        impl $name {
            /// Names, as policies and answers write them, and values.
            pub const fn entries(&self) -> [(&'static str, u64); 9] {
                [
                    ("file_bytes", self.file_bytes),
                    ("code_bytes", self.code_bytes),
                    ("function_bytes", self.function_bytes),
                    ("functions", self.functions),
                    ("locals", self.locals),
                    ("nesting", self.nesting),
                    ("imports", self.imports),
                    ("modules", self.modules),
                    ("sections", self.sections),
                ]
            }
        }
    };
}

measures! {
    /// Sizes and counts of a component.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    Structure
}

measures! {
    /// The most of each that a component may have. The default is what holds where no policy rule says otherwise.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    StructuralLimits
}

impl Default for StructuralLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl StructuralLimits {
    /// What a component may have where no policy rule says otherwise.
    pub const DEFAULT: Self = Self {
        file_bytes: 16 << 20,
        code_bytes: 8 << 20,
        function_bytes: 128 << 10,
        functions: 20_000,
        locals: 5_000,
        nesting: 500,
        imports: 100,
        modules: 32,
        sections: 4_096,
    };

    /// Most that any policy rule can allow.
    pub const MAX: Self = Self {
        file_bytes: 64 << 20,
        code_bytes: 48 << 20,
        function_bytes: 2 << 20,
        functions: 100_000,
        locals: 20_000,
        nesting: 2_000,
        imports: 200,
        modules: 128,
        sections: 16_384,
    };

    /// The limit of this name.
    pub fn entry_mut(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "file_bytes" => &mut self.file_bytes,
            "code_bytes" => &mut self.code_bytes,
            "function_bytes" => &mut self.function_bytes,
            "functions" => &mut self.functions,
            "locals" => &mut self.locals,
            "nesting" => &mut self.nesting,
            "imports" => &mut self.imports,
            "modules" => &mut self.modules,
            "sections" => &mut self.sections,
            _ => return None,
        })
    }

    /// The larger of both, entry by entry.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for (name, value) in other.entries() {
            if let Some(mine) = self.entry_mut(name) {
                *mine = value.max(*mine);
            }
        }
        self
    }
}

impl Structure {
    /// One `too-large` for each entry above its limit.
    pub fn check(&self, limits: &StructuralLimits) -> Vec<Refusal> {
        let pairs = self.entries().into_iter().zip(limits.entries());
        pairs.filter_map(|((name, found), (_, most))| over(name, found, most)).collect()
    }
}

fn over(name: &str, found: u64, most: u64) -> Option<Refusal> {
    (found > most).then(|| Refusal::new(Code::TooLarge, format!("`{name}` is {found}, at most {most} are allowed")))
}

/// What one pass over a file found.
#[derive(Debug, Default)]
pub(crate) struct Scan<'a> {
    pub(crate) structure: Structure,
    pub(crate) sections: Sections<'a>,
    /// Names of the component's imports; text behind a name that is no instance says what it is.
    pub(crate) imports: Vec<(&'a str, bool)>,
    /// Names of the component's exports and whether each is an instance.
    pub(crate) exports: Vec<(&'a str, bool)>,
    pub(crate) refusals: Vec<Refusal>,
    depth: usize,
    components: u64,
    type_bytes: u64,
    entries: u64,
    export_count: u64,
}

/// Reads `bytes` once. What was found stands in the answer also when something is refused.
pub(crate) fn scan<'a>(bytes: &'a [u8], limits: &StructuralLimits) -> Scan<'a> {
    let mut scan = Scan::default();
    scan.structure.file_bytes = count(bytes.len());
    if let Some(refusal) = over("file_bytes", scan.structure.file_bytes, limits.file_bytes) {
        scan.refusals.push(refusal);
        return scan;
    }
    if let Err(refusal) = check_header(bytes) {
        scan.refusals.push(refusal);
        return scan;
    }
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(bytes) {
        let step = payload.map_err(|error| invalid(&error)).and_then(|payload| scan.payload(payload));
        if let Err(refusal) = step {
            scan.refusals.push(refusal);
            return scan;
        }
        // Past one of these the rest of the file only costs time.
        if scan.structure.sections > limits.sections || scan.structure.modules > limits.modules {
            break;
        }
    }
    scan.refusals.extend(scan.structure.check(limits));
    let fixed: Vec<Refusal> = scan.fixed_limits().collect();
    scan.refusals.extend(fixed);
    scan
}

/// A text or a core module gets a better answer than "magic number not detected".
fn check_header(bytes: &[u8]) -> Result<(), Refusal> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Refusal::malformed("not a WebAssembly binary; the text form is never read"));
    }
    match Parser::new(0).parse(bytes, true) {
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding: Encoding::Component, .. }, .. }) => Ok(()),
        Ok(_) => Err(Refusal::malformed("a core module, not a component: build for the target wasm32-wasip2")),
        Err(error) => Err(invalid(&error)),
    }
}

pub(crate) fn invalid(error: &ParseError) -> Refusal {
    Refusal::malformed(format!("invalid component: {} (at byte {})", shown(error.message()), error.offset()))
}

impl<'a> Scan<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Refusal> {
        self.count_section(&payload);
        if self.depth == 0 && !matches!(payload, Payload::CustomSection(_) | Payload::Version { .. } | Payload::End(_))
        {
            self.sections.other()?;
        }
        match payload {
            Payload::CustomSection(custom) => self.sections.custom(self.depth, custom.name(), custom.data())?,
            Payload::ModuleSection { .. } => self.descend(true)?,
            Payload::ComponentSection { .. } => self.descend(false)?,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::CodeSectionStart { size, .. } => {
                self.structure.code_bytes = self.structure.code_bytes.saturating_add(size.into());
            }
            Payload::CodeSectionEntry(body) => self.function(&body).map_err(|error| invalid(&error))?,
            Payload::ComponentImportSection(imports) if self.depth == 0 => {
                self.structure.imports = self.structure.imports.saturating_add(imports.count().into());
                for import in imports.into_iter().take(usize::from(u8::MAX)) {
                    let import = import.map_err(|error| invalid(&error))?;
                    self.imports.push((import.name.name, matches!(import.ty, ComponentTypeRef::Instance(_))));
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 0 => {
                self.export_count = self.export_count.saturating_add(exports.count().into());
                for export in exports.into_iter().take(usize::from(u8::MAX)) {
                    let export = export.map_err(|error| invalid(&error))?;
                    self.exports.push((export.name.name, export.kind == ComponentExternalKind::Instance));
                }
            }
            Payload::UnknownSection { id, .. } => return Err(Refusal::malformed(format!("unknown section {id}"))),
            _ => {}
        }
        Ok(())
    }

    fn count_section(&mut self, payload: &Payload<'a>) {
        let (entries, type_bytes) = match payload {
            Payload::Version { .. } | Payload::End(_) | Payload::CodeSectionEntry(_) => return,
            Payload::TypeSection(section) => (section.count(), section.range()),
            Payload::CoreTypeSection(section) => (section.count(), section.range()),
            Payload::ComponentTypeSection(section) => (section.count(), section.range()),
            Payload::ImportSection(section) => (section.count(), 0..0),
            Payload::TableSection(section) => (section.count(), 0..0),
            Payload::MemorySection(section) => (section.count(), 0..0),
            Payload::GlobalSection(section) => (section.count(), 0..0),
            Payload::ExportSection(section) => (section.count(), 0..0),
            Payload::ElementSection(section) => (section.count(), 0..0),
            Payload::DataSection(section) => (section.count(), 0..0),
            Payload::InstanceSection(section) => (section.count(), 0..0),
            Payload::ComponentInstanceSection(section) => (section.count(), 0..0),
            Payload::ComponentAliasSection(section) => (section.count(), 0..0),
            Payload::ComponentCanonicalSection(section) => (section.count(), 0..0),
            Payload::ComponentImportSection(section) => (section.count(), 0..0),
            Payload::ComponentExportSection(section) => (section.count(), 0..0),
            _ => (0, 0..0),
        };
        self.structure.sections = self.structure.sections.saturating_add(1);
        self.entries = self.entries.saturating_add(entries.into());
        self.type_bytes = self.type_bytes.saturating_add(type_bytes.end.saturating_sub(type_bytes.start));
    }

    fn descend(&mut self, module: bool) -> Result<(), Refusal> {
        self.depth = self.depth.saturating_add(1);
        let counted = if module { &mut self.structure.modules } else { &mut self.components };
        *counted = counted.saturating_add(1);
        if self.depth > DEPTH_MAX {
            let detail = format!("modules and components nest deeper than {DEPTH_MAX}");
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        Ok(())
    }

    fn function(&mut self, body: &FunctionBody<'a>) -> Result<(), ParseError> {
        let structure = &mut self.structure;
        structure.functions = structure.functions.saturating_add(1);
        let range = body.range();
        structure.function_bytes = structure.function_bytes.max(range.end.saturating_sub(range.start));
        let mut locals: u64 = 0;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(group?.0.into());
        }
        structure.locals = structure.locals.max(locals);
        let mut depth: u64 = 0;
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    depth = depth.saturating_add(1);
                    structure.nesting = structure.nesting.max(depth);
                }
                Operator::End => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }

    fn fixed_limits(&self) -> impl Iterator<Item = Refusal> {
        [
            over("components", self.components, COMPONENTS_MAX),
            over("type bytes", self.type_bytes, TYPE_BYTES_MAX),
            over("entries", self.entries, ENTRIES_MAX),
            over("exports", self.export_count, EXPORTS_MAX),
        ]
        .into_iter()
        .flatten()
    }
}

/// A length as a count; no length of memory is above `u64`.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
