//! The functions behind a component's imports and exports, each with its type as text, decoded from the component's own types.
//! It classifies no interface; `imports` and `exports` do.

use std::collections::{BTreeMap, HashMap};

use bulkhead_model::{Code, Digest};
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncType,
    ComponentItem, ComponentValType, ResourceId,
};
use wasmparser::types::TypesRef;
use wasmparser::{PrimitiveValType, Validator};

use crate::artifact::Artifact;
use crate::refusal::Refusal;
use crate::structure::{FEATURES, invalid};

/// Most functions of all imports and exports together.
pub const FUNCTIONS_MAX: usize = 5_000;
/// Longest name or type in bytes; a longer one is cut and ends in a digest of all of it.
pub const TEXT_BYTES_MAX: usize = 1_000;

/// Functions by interface as the component spells it, then by name, each with its type.
pub type ByInterface = BTreeMap<String, BTreeMap<String, String>>;

/// What a component calls, and what can be called of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// Functions that it imports.
    pub imports: ByInterface,
    /// Functions that it exports.
    pub exports: ByInterface,
}

/// Decodes the functions of `artifact`, whose file is `bytes`.
pub fn read(bytes: &[u8], artifact: &Artifact) -> Result<Functions, Refusal> {
    let types = Validator::new_with_features(FEATURES).validate_all(bytes).map_err(|error| invalid(&error))?;
    let item = |name: &str, found: Option<&ComponentItem>| found.map(|item| (name.to_owned(), item.clone()));
    let imports: Vec<_> =
        artifact.imports.names().filter_map(|name| item(name, types.component_item_for_import(name))).collect();
    let exports: Vec<_> =
        artifact.exports.names().filter_map(|name| item(name, types.component_item_for_export(name))).collect();
    let mut reader =
        Reader { types: types.as_ref(), resources: HashMap::new(), texts: HashMap::new(), left: FUNCTIONS_MAX };
    for (_, item) in imports.iter().chain(&exports) {
        reader.name_resources(item);
    }
    Ok(Functions { imports: reader.interfaces(imports)?, exports: reader.interfaces(exports)? })
}

struct Reader<'a> {
    types: TypesRef<'a>,
    /// Name of each resource, by where it stands first.
    resources: HashMap<ResourceId, String>,
    /// Texts of types that were met, so that shared ones are written once: the work is linear in the types.
    texts: HashMap<ComponentDefinedTypeId, String>,
    left: usize,
}

impl Reader<'_> {
    fn name_resources(&mut self, item: &ComponentItem) {
        let ComponentEntityType::Instance(instance) = item.ty else { return };
        let Some(instance) = self.types.get(instance) else { return };
        for (name, item) in &instance.exports {
            if let ComponentEntityType::Type { referenced: ComponentAnyTypeId::Resource(id), .. } = item.ty {
                self.resources.entry(id.resource()).or_insert_with(|| name.clone());
            }
        }
    }

    fn interfaces(&mut self, items: Vec<(String, ComponentItem)>) -> Result<ByInterface, Refusal> {
        let mut interfaces = ByInterface::new();
        for (interface, item) in items {
            let functions = interfaces.entry(bounded(interface.clone())).or_default();
            match item.ty {
                ComponentEntityType::Instance(instance) => {
                    let exports = self.types.get(instance).map(|instance| &instance.exports);
                    for (name, item) in exports.into_iter().flatten() {
                        if let ComponentEntityType::Func(function) = item.ty {
                            functions.insert(bounded(name.clone()), self.function(self.types.get(function))?);
                        }
                    }
                }
                ComponentEntityType::Func(function) => {
                    functions.insert(String::new(), self.function(self.types.get(function))?);
                }
                _ => {}
            }
        }
        Ok(interfaces)
    }

    fn function(&mut self, function: Option<&ComponentFuncType>) -> Result<String, Refusal> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            Refusal::new(Code::TooLarge, format!("imports and exports have more than {FUNCTIONS_MAX} functions"))
        })?;
        let Some(function) = function else { return Ok(String::new()) };
        let parameters: Vec<String> =
            function.params.iter().map(|(name, ty)| format!("{name}: {}", self.value(*ty))).collect();
        let result = function.result.map(|ty| format!(" -> {}", self.value(ty))).unwrap_or_default();
        let is_async = if function.async_ { "async " } else { "" };
        Ok(bounded(format!("{is_async}func({}){result}", parameters.join(", "))))
    }

    fn value(&mut self, ty: ComponentValType) -> String {
        match ty {
            ComponentValType::Primitive(primitive) => self::primitive(primitive),
            ComponentValType::Type(id) => {
                if let Some(text) = self.texts.get(&id) {
                    return text.clone();
                }
                // The validator bounds how deep types nest.
                let text = bounded(self.types.get(id).map(|ty| self.defined(ty)).unwrap_or_default());
                self.texts.insert(id, text.clone());
                text
            }
        }
    }

    fn optional(&mut self, ty: Option<ComponentValType>) -> String {
        ty.map_or_else(|| "_".to_owned(), |ty| self.value(ty))
    }

    fn defined(&mut self, ty: &ComponentDefinedType) -> String {
        use ComponentDefinedType as Defined;
        match ty {
            Defined::Primitive(primitive) => self::primitive(*primitive),
            Defined::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| format!("{name}: {}", self.value(*ty)));
                format!("record{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            Defined::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| match case.ty {
                    Some(ty) => format!("{name}({})", self.value(ty)),
                    None => name.to_string(),
                });
                format!("variant{{{}}}", cases.collect::<Vec<_>>().join(", "))
            }
            Defined::List { element, .. } => format!("list<{}>", self.value(*element)),
            Defined::FixedLengthList { element, length, .. } => format!("list<{}, {length}>", self.value(*element)),
            Defined::Map { key, value, .. } => format!("map<{}, {}>", self.value(*key), self.value(*value)),
            Defined::Tuple(tuple) => {
                let types = tuple.types.iter().map(|ty| self.value(*ty));
                format!("tuple<{}>", types.collect::<Vec<_>>().join(", "))
            }
            Defined::Flags(names) => format!("flags{{{}}}", joined(names)),
            Defined::Enum(names) => format!("enum{{{}}}", joined(names)),
            Defined::Option { ty, .. } => format!("option<{}>", self.value(*ty)),
            Defined::Result { ok, err, .. } => format!("result<{}, {}>", self.optional(*ok), self.optional(*err)),
            Defined::Own(id) => self.resource("own", id.resource()),
            Defined::Borrow(id) => self.resource("borrow", id.resource()),
            Defined::Future { ty, .. } => format!("future<{}>", self.optional(*ty)),
            Defined::Stream { ty, .. } => format!("stream<{}>", self.optional(*ty)),
        }
    }

    fn resource(&self, handle: &str, id: ResourceId) -> String {
        format!("{handle}<{}>", self.resources.get(&id).map_or("resource", String::as_str))
    }
}

fn joined<'a>(names: impl IntoIterator<Item = &'a wasmparser::names::KebabString>) -> String {
    names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn primitive(primitive: PrimitiveValType) -> String {
    primitive.to_string()
}

/// The text, or its beginning and a digest of all of it.
pub(crate) fn bounded(text: String) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let digest = Digest::of(text.as_bytes()).to_string();
    let digest = digest.rsplit(':').next().unwrap_or_default();
    let mut kept = text;
    kept.truncate(kept.floor_char_boundary(TEXT_BYTES_MAX.saturating_sub(digest.len()).saturating_sub('…'.len_utf8())));
    format!("{kept}…{digest}")
}
