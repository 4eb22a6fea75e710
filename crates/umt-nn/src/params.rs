//! Parameters in one fixed order: sorted by name.

use crate::{Array, Device, NnError, Stop, layers::Folds};
use candle_core::Var;
use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

/// The name of a parameter, formatted once when its layer is built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl From<String> for Key {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Gradients by parameter name.
pub type Grads = BTreeMap<String, Array>;

/// Tensors as they are stored: name, shape, values, in PyTorch's layout.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trainable: has a gradient, and an optimiser changes it.
    Weight,
    /// A running statistic of a batch-norm: not trainable, read by the operators of the network.
    Statistic,
    /// Other state that is stored but not trainable, for example what an objective remembers; read by the host.
    Buffer,
}

/// The order of a parameter's values in memory, compared with PyTorch's order on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As in PyTorch.
    Plain,
    /// Convolution weights: `[kh][kw][in][out]` in memory, `[out][in][kh][kw]` on disk.
    Conv,
}

/// One named tensor of a network.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its values, in memory layout.
    pub value: Array,
    /// What it is for.
    pub role: Role,
    /// Its layout in memory.
    pub layout: Layout,
}

impl Param {
    /// A trainable parameter in PyTorch's layout.
    pub fn weight(value: Array) -> Self {
        Self { value, role: Role::Weight, layout: Layout::Plain }
    }

    /// Convolution weights, `[kh, kw, in / groups, out]`.
    pub fn conv(value: Array) -> Self {
        Self { value, role: Role::Weight, layout: Layout::Conv }
    }

    /// A running statistic of a batch-norm.
    pub fn statistic(value: Array) -> Self {
        Self { value, role: Role::Statistic, layout: Layout::Plain }
    }

    /// Other state that is stored but not trainable.
    pub fn buffer(value: Array) -> Self {
        Self { value, role: Role::Buffer, layout: Layout::Plain }
    }

    fn disk_shape(&self) -> Vec<usize> {
        match (self.layout, self.value.shape()) {
            (Layout::Conv, &[kh, kw, input, output]) => vec![output, input, kh, kw],
            (_, shape) => shape.to_vec(),
        }
    }

    /// Index in memory of each value in disk order.
    fn disk_order(&self) -> Box<dyn Iterator<Item = usize>> {
        match (self.layout, self.value.shape()) {
            (Layout::Conv, &[kh, kw, input, output]) => Box::new((0..output).flat_map(move |o| {
                (0..input * kh * kw).map(move |rest| {
                    let (i, tap) = (rest / (kh * kw), rest % (kh * kw));
                    (tap * input + i) * output + o
                })
            })),
            _ => Box::new(0..self.value.len()),
        }
    }
}

/// For each batch-norm layer among the tensors `names` the counter of batches that PyTorch keeps with its statistics
/// (`num_batches_tracked`): with them a file has every name of a module's state dict.
pub fn batch_counters<'a>(names: impl IntoIterator<Item = &'a String>, batches: u64) -> BTreeMap<String, i64> {
    let count = i64::try_from(batches).unwrap_or(i64::MAX);
    let layers = names.into_iter().filter_map(|name| name.strip_suffix("running_mean"));
    layers.map(|layer| (format!("{layer}num_batches_tracked"), count)).collect()
}

/// A network's parameters, statistics and buffers, always visited in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Params {
    entries: BTreeMap<String, Param>,
    /// Weights with batch-norms folded into them, for evaluation; every change of the entries forgets them.
    folds: Folds,
    variables: Variables,
    stop: Stop,
}

/// Parameters as candle variables, made when they are first asked for; every change of the entries forgets them. A copy begins empty.
#[derive(Debug, Default)]
struct Variables(Mutex<BTreeMap<String, Var>>);

impl Clone for Variables {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Params {
    fn forget(&mut self) {
        self.folds.forget();
        self.variables.0.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A parameter as a candle variable, in its layout in memory, for candle's layers and autograd.
    /// Copied once and shared until a parameter changes: passes in between copy nothing.
    ///
    /// # Errors
    /// [`NnError::NoParameter`] if there is none of this name; when a device fails.
    pub fn variable(&self, name: &str) -> Result<Var, NnError> {
        let mut all = self.variables.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(variable) = all.get(name) {
            return Ok(variable.clone());
        }
        let variable = self.value(name)?.to_var()?;
        all.insert(name.to_owned(), variable.clone());
        Ok(variable)
    }

    /// Lets every pass over these parameters be given up when `stop` is raised.
    pub fn stop_on(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// What passes over these parameters look at from time to time.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Adds or replaces a parameter.
    pub fn insert(&mut self, name: impl Into<String>, param: Param) {
        self.forget();
        self.entries.insert(name.into(), param);
    }

    /// Removes every parameter whose name `keep` rejects.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.forget();
        self.entries.retain(|name, _| keep(name));
    }

    /// The values of a parameter.
    ///
    /// # Errors
    /// [`NnError::NoParameter`] if there is none of this name.
    pub fn value(&self, name: &str) -> Result<&Array, NnError> {
        match self.entries.get(name) {
            Some(param) => Ok(&param.value),
            None => Err(NnError::NoParameter(name.to_owned())),
        }
    }

    pub(crate) fn folds(&self) -> &Folds {
        &self.folds
    }

    /// A parameter, if it exists.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.entries.get(name)
    }

    /// A parameter for writing, if it exists.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Param> {
        self.forget();
        self.entries.get_mut(name)
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Param)> {
        self.entries.iter()
    }

    /// All of them for writing, sorted by name.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Param)> {
        self.forget();
        self.entries.iter_mut()
    }

    /// The network's device: that of its trainable parameters.
    pub fn device(&self) -> Device {
        let trainable = self.entries.values().find(|param| param.role == Role::Weight);
        trainable.map_or(Device::Cpu, |param| param.value.device())
    }

    /// Moves the network: its trainable parameters and the running statistics of its batch-norms. Buffers are small, read by the host, and stay
    /// there.
    ///
    /// # Errors
    /// When a device fails.
    pub fn to_device(&mut self, device: &Device) -> Result<(), NnError> {
        self.forget();
        for param in self.entries.values_mut().filter(|param| param.role != Role::Buffer) {
            param.value = param.value.to_device(device)?;
        }
        Ok(())
    }

    /// The counter that PyTorch keeps with each batch-norm layer's statistics, see [`batch_counters`].
    pub fn batch_counters(&self, batches: u64) -> BTreeMap<String, i64> {
        batch_counters(self.entries.keys(), batches)
    }

    /// Replaces the values of these parameters: the statistics that a forward pass returned, or buffers.
    ///
    /// # Errors
    /// [`NnError::NoParameter`] if there is none of a name.
    pub fn update<K: AsRef<str>>(&mut self, values: impl IntoIterator<Item = (K, Array)>) -> Result<(), NnError> {
        self.forget();
        for (name, value) in values {
            match self.entries.get_mut(name.as_ref()) {
                Some(param) => param.value = value,
                None => return Err(NnError::NoParameter(name.as_ref().to_owned())),
            }
        }
        Ok(())
    }

    /// Every tensor in PyTorch's layout, for a file.
    pub fn to_tensors(&self) -> Tensors {
        let entry = |(name, param): (&String, &Param)| {
            let values = param.value.as_slice();
            let data = param.disk_order().map(|index| values[index]).collect();
            (name.clone(), (param.disk_shape(), data))
        };
        self.entries.iter().map(entry).collect()
    }

    /// Takes the values of every parameter from a file's tensors.
    ///
    /// # Errors
    /// [`NnError::Mismatch`] with all names that do not match; then nothing has changed.
    pub fn load_tensors(&mut self, tensors: &Tensors) -> Result<(), NnError> {
        self.load_under("", tensors)
    }

    /// [`Params::load_tensors`] for the parameters whose names begin with `prefix`, which the file's names lack.
    ///
    /// # Errors
    /// Those of [`Params::load_tensors`].
    pub fn load_under(&mut self, prefix: &str, tensors: &Tensors) -> Result<(), NnError> {
        let own: BTreeMap<&str, &Param> =
            self.entries.iter().filter_map(|(name, param)| Some((name.strip_prefix(prefix)?, param))).collect();
        let missing: Vec<String> =
            own.keys().filter(|name| !tensors.contains_key(**name)).map(|name| name.to_string()).collect();
        let unexpected: Vec<String> = tensors.keys().filter(|name| !own.contains_key(name.as_str())).cloned().collect();
        let mut ill_shaped = Vec::new();
        for (name, param) in own {
            if let Some((shape, _)) = tensors.get(name)
                && *shape != param.disk_shape()
            {
                ill_shaped.push(format!("{name}: {shape:?} for {:?}", param.disk_shape()));
            }
        }
        if !(missing.is_empty() && unexpected.is_empty() && ill_shaped.is_empty()) {
            return Err(NnError::Mismatch { missing, unexpected, ill_shaped });
        }
        self.forget();
        for (name, param) in &mut self.entries {
            if let Some((_, data)) = name.strip_prefix(prefix).and_then(|name| tensors.get(name)) {
                let (order, device) = (param.disk_order(), param.value.device());
                let values = param.value.make_mut();
                order.zip(data).for_each(|(index, &value)| values[index] = value);
                // Writing moved it to the host.
                param.value = param.value.to_device(&device)?;
            }
        }
        Ok(())
    }
}
