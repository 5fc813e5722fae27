//! Pages and widgets of a plugin.
//! It reads none of their files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::PermissionName;

/// `[ui]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ui {
    /// Folder with the files of pages and widgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "asset-path"))]
    pub assets: Option<String>,
    /// Pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pages: Vec<Page>,
    /// Widgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub widgets: Vec<Widget>,
}

/// `[[ui.pages]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Path below the plugin's pages.
    #[schemars(extend("format" = "route-template"))]
    pub path: String,
    /// Title for people.
    #[schemars(length(min = 1, max = 80))]
    pub title: String,
    /// File below the assets.
    #[schemars(extend("format" = "asset-path"))]
    pub entry: String,
    /// Short name of the permission that the user needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionName>,
    /// Where it stands in the menu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Menu")]
    pub menu: Option<Menu>,
}

/// Menu item of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Menu {
    /// Section of the menu.
    #[schemars(length(min = 1, max = 64))]
    pub section: String,
    /// Name of an icon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub icon: Option<String>,
}

/// `[[ui.widgets]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Widget {
    /// Named place of the console.
    #[schemars(length(min = 1, max = 64))]
    pub slot: String,
    /// How it is shown.
    #[schemars(length(min = 1, max = 32))]
    pub kind: String,
    /// File below the assets.
    #[schemars(extend("format" = "asset-path"))]
    pub entry: String,
    /// Short name of the permission that the user needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionName>,
}
