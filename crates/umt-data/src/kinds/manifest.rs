//! Own data: a csv with a header that names the columns.
//!
//! `id` is needed, and to train on it `label` and `split` (train, validation, test): samples without a label can be
//! evaluated, and without a split they are test samples; `audio` and `video` hold paths
//! relative to the manifest's folder (a clip, a sound file, or a folder of frames for video); every
//! column `group:NAME` names groups that validation must not tear apart. Where each pixel has a class
//! of its own, `rgb`, `depth` and `label-map` hold pictures and `classes.txt` beside the manifest names
//! the classes of the ids 1, 2, ...; there is no `label` then.

use super::{Kind, folders, list};
use crate::{
    DataConfig, DataError, Dataset, Defects, DenseForm, FindingKind, Source, Split,
    dataset::{Input, Lists, UNLABELLED},
    defects::Place,
    rows::{Row, Rows},
    samples::{NO_LABEL, NewSample, NewSource, Samples},
};
use std::path::Path;
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

    fn open(&self, root: Option<&Path>, config: &DataConfig, defects: &mut Defects) -> Result<Dataset, DataError> {
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
        read(&path, config, defects)
    }
}

/// What a column of the manifest is for.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Id,
    Label,
    Split,
    Path(Modality),
    Map,
    Group,
    /// It has no meaning, and that has been said.
    Unknown,
}

/// The rows of a manifest with their files, whatever modalities it has.
///
/// # Errors
/// As [`super::open`] of such a list.
pub fn listed(path: &Path) -> Result<Vec<Input>, DataError> {
    let inside = path.join(list::MANIFEST);
    let list = if path.is_dir() { &inside } else { path };
    let set = read(list, &DataConfig::default(), &mut Defects::stop())?;
    let file = |(modality, source): (Modality, Source)| Some((modality, source.path()?.to_owned()));
    Ok(set
        .iter()
        .map(|sample| Input { id: sample.id().to_owned(), files: sample.sources().filter_map(file).collect() })
        .collect())
}

fn read(path: &Path, config: &DataConfig, defects: &mut Defects) -> Result<Dataset, DataError> {
    let mut rows = Rows::open(path, FORM)?;
    let top = Place { list: path, line: 1, id: "", form: FORM };
    if rows.marked() {
        defects.note(FindingKind::ByteOrderMark, top, list::marked);
    }
    let header = rows.first()?.fields();
    let columns = columns(&header, config, top, defects)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut samples, mut names) = (Samples::default(), list::Classes::default());
    while let Some(row) = rows.next() {
        match row {
            Ok(row) => {
                add(&row, &header, &columns, Place { line: row.line, ..top }, (&mut samples, &mut names), defects)?
            }
            Err(error) => defects.row(path, error)?,
        }
    }
    let dense = columns.contains(&Column::Map);
    let mut classes = match dense {
        true => class_names(folder, defects)?,
        false => names.sorted(&mut samples),
    };
    if classes.is_empty() {
        classes.push(UNLABELLED.to_owned());
    }
    let groups = header.iter().zip(&columns).filter(|(_, column)| **column == Column::Group);
    let group_names: Vec<String> =
        groups.filter_map(|(name, _)| name.strip_prefix("group:")).map(str::to_owned).collect();
    let dense = dense.then(|| DenseForm::in_order(classes.len(), DepthCode::Unit(1.0)));
    let mut set = Dataset {
        name: "manifest".into(),
        root: folder.to_owned(),
        lists: Lists::One(path.to_owned()),
        classes,
        samples,
        hold_out: group_names.first().cloned(),
        group_names,
        synthetic: None,
        rooms: None,
        dense,
    };
    if set.dense.is_none() && set.is_labelled() {
        set.require_labels(path, defects)?;
    }
    set.validate(path, defects)?;
    Ok(set)
}

/// Adds the sample of a row; a row with a defect that is collected adds none.
fn add(
    row: &Row<'_>,
    header: &[String],
    columns: &[Column],
    at: Place<'_>,
    (samples, names): (&mut Samples, &mut list::Classes),
    defects: &mut Defects,
) -> Result<(), DataError> {
    if row.len() != columns.len() {
        let found = format!("{} fields instead of {}", row.len(), columns.len());
        return defects.defect(FindingKind::Row, at, found);
    }
    let of = |wanted: Column| columns.iter().position(|column| *column == wanted).map_or("", |index| row.field(index));
    let at = Place { id: of(Column::Id), ..at };
    let (mut label, mut split, mut whole) = ("", Split::Test, true);
    let (mut groups, mut sources, mut map) = (Vec::new(), Vec::new(), None);
    for (index, column) in columns.iter().enumerate() {
        let field = row.field(index);
        match column {
            Column::Id | Column::Split if field.is_empty() => {
                whole = false;
                defects.defect(FindingKind::EmptyCell, at, format!("the {} is empty", header[index]))?;
            }
            Column::Id | Column::Unknown => {}
            Column::Label => label = field,
            Column::Split => match list::split_of(field) {
                Some(named) => split = named,
                None => {
                    whole = false;
                    defects.defect(FindingKind::UnknownSplit, at, format!("the split is `{field}`"))?;
                }
            },
            Column::Map => map = Some(NewSource::File(field)),
            Column::Path(modality) => sources.push((*modality, NewSource::File(field))),
            Column::Group => {
                if field.is_empty() {
                    defects.note(FindingKind::NoGroup, at, || format!("`{}` is empty", header[index]));
                }
                groups.push(field);
            }
        }
    }
    if whole {
        samples.push(NewSample {
            id: at.id,
            label: if label.is_empty() { NO_LABEL } else { names.number(label) },
            split,
            line: row.line,
            groups: &groups,
            sources: &sources,
            map,
        });
    }
    Ok(())
}

/// The names in `classes.txt`.
fn class_names(folder: &Path, defects: &mut Defects) -> Result<Vec<String>, DataError> {
    let path = folder.join("classes.txt");
    folders::read_classes(&path, defects)?.ok_or_else(|| {
        let hint = "write the class of id 1, 2, ... of the label maps in a line each";
        DataError::root(path, "a manifest with label maps needs it beside it", hint)
    })
}

/// What the columns are for; rows cannot be read without those that are needed.
fn columns(
    header: &[String],
    config: &DataConfig,
    at: Place<'_>,
    defects: &mut Defects,
) -> Result<Vec<Column>, DataError> {
    let of_name = |name: &str| match name {
        "id" => Column::Id,
        "label" => Column::Label,
        "split" => Column::Split,
        "audio" => Column::Path(Modality::Audio),
        "video" => Column::Path(Modality::Video),
        "rgb" => Column::Path(Modality::Rgb),
        "depth" => Column::Path(Modality::Depth),
        "label-map" => Column::Map,
        group if group.strip_prefix("group:").is_some_and(|g| !g.is_empty()) => Column::Group,
        _ => Column::Unknown,
    };
    let mut columns = Vec::with_capacity(header.len());
    for (index, name) in header.iter().enumerate() {
        let mut column = of_name(name);
        if column == Column::Unknown {
            defects.defect(FindingKind::Header, at, format!("unknown column `{name}`"))?;
        } else if header[..index].contains(name) {
            column = Column::Unknown;
            defects.defect(FindingKind::Header, at, format!("column `{name}` stands twice"))?;
        }
        columns.push(column);
    }
    let has = |name: &str| header.iter().any(|column| column == name);
    if has("label") && has("label-map") {
        let reason = "columns `label` and `label-map`: a sample has a class, or each of its pixels has one";
        return Err(at.error(reason.into()));
    }
    let dense = config.dense.is_some() || has("label-map");
    for name in [Some("id"), dense.then_some("label-map")].into_iter().flatten() {
        if !has(name) {
            return Err(at.error(format!("no column `{name}` in the header")));
        }
    }
    for name in ["depth", "rgb", "audio", "video"] {
        if config.reads(name) && !has(name) {
            defects.defect(FindingKind::Header, at, format!("no column `{name}` in the header"))?;
        }
    }
    Ok(columns)
}
