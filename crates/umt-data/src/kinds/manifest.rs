//! Own data: a csv with a header that names the columns.
//!
//! `id` is needed, and to train on it `label` and `split` (train, validation, test): samples without a label can be
//! evaluated, and without a split they are test samples; `audio` and `video` hold paths
//! relative to the manifest's folder (a clip, a sound file, or a folder of frames for video); every
//! column `group:NAME` names groups that validation must not tear apart. Where each pixel has a class
//! of its own, `rgb`, `depth` and `label-map` hold pictures and `classes.txt` beside the manifest names
//! the classes of the ids 1, 2, ...; there is no `label` then.

use super::{Kind, folders, list};
use crate::{DataConfig, DataError, Dataset, DenseForm, SampleInfo, Source, dataset::UNLABELLED, rows::Rows};
use std::{collections::BTreeMap, path::Path};
use umt_depth::DepthCode;
use umt_media::Modality;

pub(super) struct Manifest;

const FORM: &str = "a csv with the header id,label,split, a path column for each modality (audio, video; or, with label-map in place of label, rgb, depth) and any number of group:NAME columns; split is train, validation or test; for `eval` alone label and split may be absent";

impl Kind for Manifest {
    fn name(&self) -> &'static str {
        "manifest"
    }

    fn about(&self) -> &'static str {
        "own data: a csv with the header id,label,split,audio,video or id,split,rgb,depth,label-map, and optional group:NAME columns"
    }

    fn open(&self, root: Option<&Path>, config: &DataConfig) -> Result<Dataset, DataError> {
        let given = list::folder(self.name(), root)?;
        let path = if given.is_dir() {
            let inside = given.join(list::MANIFEST);
            if !inside.is_file() {
                return Err(DataError::root(
                    given,
                    "there is no manifest.csv in the folder",
                    format!("give the list with --data LIST.csv: {FORM}"),
                ));
            }
            inside
        } else {
            given.to_owned()
        };
        read(&path, config)
    }
}

/// What a column of the manifest is for.
enum Column {
    Id,
    Label,
    Split,
    Path(Modality),
    Map,
    Group,
}

/// The rows of a manifest, whatever modalities it has.
///
/// # Errors
/// As [`super::open`] of such a list.
pub fn listed(path: &Path) -> Result<Vec<SampleInfo>, DataError> {
    let inside = path.join(list::MANIFEST);
    Ok(read(if path.is_dir() { &inside } else { path }, &DataConfig::default())?.samples)
}

fn read(path: &Path, config: &DataConfig) -> Result<Dataset, DataError> {
    let mut rows = Rows::open(path, FORM)?;
    let error = |line, reason| DataError::List { path: path.to_owned(), line, reason, expected: FORM.to_owned() };
    let header = rows.first()?.fields;
    let columns = columns(&header, config).map_err(|reason| error(1, reason))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut samples, mut words, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let row = row?;
        if row.fields.len() != header.len() {
            let found = format!("{} fields instead of {}", row.fields.len(), header.len());
            return Err(error(row.line, found));
        }
        let mut sample = SampleInfo {
            id: String::new(),
            label: 0,
            split: crate::Split::Test,
            groups: Vec::new(),
            sources: BTreeMap::new(),
            map: None,
        };
        for (column, field) in columns.iter().zip(row.fields) {
            match column {
                Column::Id if field.is_empty() => {
                    return Err(error(row.line, "the id is empty".into()));
                }
                Column::Id => sample.id = field,
                Column::Label => words.push(field),
                Column::Split => {
                    sample.split =
                        list::split_of(&field).ok_or_else(|| error(row.line, format!("the split is `{field}`")))?;
                }
                Column::Path(_) | Column::Map if field.is_empty() => {}
                Column::Map => sample.map = Some(Source::Path(folder.join(field))),
                Column::Path(modality) => {
                    let source = Source::Path(folder.join(field));
                    sample.sources.insert(*modality, source);
                }
                Column::Group => sample.groups.push(field),
            }
        }
        samples.push(sample);
        lines.push(row.line);
    }
    let dense = columns.iter().any(|column| matches!(column, Column::Map));
    let (classes, labels) = match dense {
        true => (class_names(folder)?, Vec::new()),
        false if words.iter().all(String::is_empty) => (vec![UNLABELLED.to_owned()], Vec::new()),
        false => match words.iter().position(String::is_empty) {
            Some(row) => return Err(error(lines[row], "the label is empty, and others are not".into())),
            None => list::classes(&words),
        },
    };
    for (sample, label) in samples.iter_mut().zip(labels) {
        sample.label = label;
    }
    let group_names: Vec<String> =
        header.iter().filter_map(|name| name.strip_prefix("group:")).map(str::to_owned).collect();
    let dense = dense.then(|| DenseForm::in_order(classes.len(), DepthCode::Unit(1.0)));
    let set = Dataset {
        name: "manifest".into(),
        root: folder.to_owned(),
        classes,
        samples,
        hold_out: group_names.first().cloned(),
        group_names,
        synthetic: None,
        rooms: None,
        dense,
    };
    set.validate(path, &|sample| lines[sample])?;
    Ok(set)
}

/// The names in `classes.txt`.
fn class_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let path = folder.join("classes.txt");
    folders::read_classes(&path)?.ok_or_else(|| {
        let hint = "write the class of id 1, 2, ... of the label maps in a line each";
        DataError::root(path, "a manifest with label maps needs it beside it", hint)
    })
}

fn columns(header: &[String], config: &DataConfig) -> Result<Vec<Column>, String> {
    let of_name = |name: &String| match name.as_str() {
        "id" => Ok(Column::Id),
        "label" => Ok(Column::Label),
        "split" => Ok(Column::Split),
        "audio" => Ok(Column::Path(Modality::Audio)),
        "video" => Ok(Column::Path(Modality::Video)),
        "rgb" => Ok(Column::Path(Modality::Rgb)),
        "depth" => Ok(Column::Path(Modality::Depth)),
        "label-map" => Ok(Column::Map),
        group if group.strip_prefix("group:").is_some_and(|g| !g.is_empty()) => Ok(Column::Group),
        other => Err(format!("unknown column `{other}`")),
    };
    for (index, name) in header.iter().enumerate() {
        if header[..index].contains(name) {
            return Err(format!("column `{name}` stands twice"));
        }
    }
    let has = |name: &str| header.iter().any(|column| column == name);
    let dense = config.dense.is_some() || has("label-map");
    let mut needed = vec!["id"];
    needed.extend(dense.then_some("label-map"));
    if has("label") && has("label-map") {
        return Err("columns `label` and `label-map`: a sample has a class, or each of its pixels has one".into());
    }
    needed.extend(config.depth.as_ref().map(|_| "depth"));
    needed.extend(config.rgb.as_ref().map(|_| "rgb"));
    needed.extend(config.audio.as_ref().map(|_| "audio"));
    needed.extend(config.video.as_ref().map(|_| "video"));
    let columns = header.iter().map(of_name).collect::<Result<_, _>>()?;
    match needed.iter().find(|name| !header.iter().any(|h| h == *name)) {
        Some(name) => Err(format!("no column `{name}` in the header")),
        None => Ok(columns),
    }
}
