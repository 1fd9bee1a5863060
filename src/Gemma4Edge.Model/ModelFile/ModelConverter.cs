using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Makes one GGUF of a Hugging Face folder or another GGUF: tensor by tensor, a piece of rows at a time, so that memory does not grow with the model.</summary>
/// <remarks>
/// The bytes depend on the source and the options only, not on the CPU or the number of threads; with calibration, on the CPU's rounding too, since
/// the codes are chosen by running the network.
/// </remarks>
public sealed class ModelConverter
{
    private readonly LoadedModel _source;
    private readonly ConversionOptions _options;
    private readonly Action<string, long, long> _progress;
    private readonly CancellationToken _cancellation;
    private readonly FormatChoice _formats;
    private readonly CpuKernels _kernels = CpuKernels.Select(null);
    private readonly List<Func<ConvertedTensor>> _report = [];

    private ModelConverter(LoadedModel source, ConversionOptions options, Action<string, long, long> progress, CancellationToken cancellation)
    {
        _source = source;
        _options = options;
        _progress = progress;
        _cancellation = cancellation;
        _formats = new FormatChoice(options, source.Config);
    }

    /// <summary>Converts; the new file is complete or not there at all.</summary>
    /// <param name="source">A file or folder that <see cref="LoadedModel"/> opens; a TurboQuant one is decoded.</param>
    /// <param name="target">The file to make or replace.</param>
    /// <param name="options">What to make of it.</param>
    /// <param name="progress">Gets what is being done and how far it has come (done, all), on the calling thread.</param>
    /// <param name="cancellation">Looked at after each piece.</param>
    /// <returns>What became of each tensor, in the order of the file.</returns>
    /// <exception cref="ModelFileException">The source or the adapter is damaged or of another kind.</exception>
    /// <exception cref="ConversionException">The options do not fit the model.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing is left behind.</exception>
    public static IReadOnlyList<ConvertedTensor> Convert(string source, string target, ConversionOptions options, Action<string, long, long> progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(options);
        GgufWriter.CheckTarget(target); // now, not only when the lattices are found
        if (options.Adapter is not null && options.Calibration is not null)
        {
            throw new ConversionException("Calibration runs the source, which has no adapter: convert with the adapter to bf16 first, then that file with the calibration.");
        }

        List<MappedFile> adapterFiles = [];
        try
        {
            using LoadedModel model = LoadedModel.Open(source);
            LoraAdapter? adapter = options.Adapter is null ? null : LoraAdapter.Read(options.Adapter, adapterFiles);
            return new ModelConverter(model, options, progress, cancellation).Write(target, adapter);
        }
        finally
        {
            adapterFiles.ForEach(file => file.Dispose());
        }
    }

    private List<ConvertedTensor> Write(string target, LoraAdapter? adapter)
    {
        using var pool = new WorkerPool(_options.Threads > 0 ? _options.Threads : WorkerPool.DefaultThreads);
        var writer = new GgufWriter();
        AddKeys(writer);
        HashSet<string> dead = DeadTensors();
        List<(string Name, StoredTensor Tensor)> tensors = [.. UsedTensors(dead)];
        if (adapter?.Targets.Except(tensors.Select(tensor => tensor.Name)).FirstOrDefault(name => !dead.Contains(name)) is { } unknown)
        {
            throw new ConversionException($"{_options.Adapter} changes '{unknown}', which this model does not use: give the adapter of this model.");
        }

        Calibration? calibration = _options.Calibration is { } text
            ? Calibration.Gather(_source, text, _kernels, pool, (done, all) => _progress("Calibrating", done, all), _cancellation)
            : null;
        long total = tensors.Where(tensor => IsMatrix(tensor.Tensor)).Sum(tensor => tensor.Tensor.Count), done = 0;
        var decoder = new MatrixMultiplier(_kernels, pool, ActivationFormat.Float);
        var builder = new WeightsBuilder(_source.Contents);
        foreach ((string name, StoredTensor tensor) in tensors)
        {
            if (IsMatrix(tensor))
            {
                AddMatrix(writer, new MatrixSource(name, tensor, builder.Matrices(tensor), decoder, adapter?.For(name, tensor)), calibration, pool, Written);
            }
            else
            {
                AddVector(writer, TensorNames.ToGguf(name), tensor.FormatName, WeightsBuilder.Floats(tensor));
            }
        }

        if (_source.Contents.Tensors.Find("rope_freqs.weight") is null)
        {
            AddVector(writer, TensorNames.ToGguf("rope_freqs.weight"), "f32", _source.Weights.RopeFactorsFull);
        }

        if (_formats.Unused.Count > 0)
        {
            throw new ConversionException($"No matrix matches '{_formats.Unused.First()}': 'inspect MODEL --tensors' lists the names.");
        }

        writer.Write(target);
        return [.. _report.Select(entry => entry())];

        void Written(long weights)
        {
            _cancellation.ThrowIfCancellationRequested();
            _progress("Converting", done += weights, total);
        }
    }

    private void AddKeys(GgufWriter writer)
    {
        if (_source.Format == "gguf")
        {
            GgufKeys.Copy(writer, _source.Contents.Tensors.All[0].File);
            return;
        }

        writer.Add("general.architecture", "gemma4");
        writer.Add("general.name", _source.Name);
        GgufKeys.AddConfig(writer, _source.Config);
        GgufKeys.AddGeneration(writer, _source.Generation);
        GgufKeys.AddTokenizer(writer, _source.Path, _source.Generation);
        if (_source.ChatTemplateText is { } template)
        {
            writer.Add("tokenizer.chat_template", template);
        }
    }

    /// <summary>Names of the keys and values of layers that use those of others: checkpoints may hold them, and adapters change them to no effect.</summary>
    private HashSet<string> DeadTensors()
    {
        HashSet<string> dead = [];
        for (int layer = 0; layer < _source.Config.NumHiddenLayers; layer++)
        {
            LayerWeights weights = _source.Weights.Layers[layer];
            AddIf(weights.KProj is null, "self_attn.k_proj.weight");
            AddIf(weights.KProj is null, "self_attn.k_norm.weight");
            AddIf(weights.VProj is null, "self_attn.v_proj.weight");

            void AddIf(bool unused, string name)
            {
                if (unused)
                {
                    dead.Add(TensorNames.OfLayer(layer, name));
                }
            }
        }

        return dead;
    }

    /// <summary>The tensors the network reads: no dead keys and values, nothing of other networks in the same files.</summary>
    private IEnumerable<(string Name, StoredTensor Tensor)> UsedTensors(HashSet<string> dead)
    {
        foreach (string name in TensorNames.All(_source.Config.NumHiddenLayers))
        {
            if (!dead.Contains(name) && _source.Contents.Tensors.Find(name) is { } tensor)
            {
                yield return (name, tensor);
            }
        }
    }

    private void AddMatrix(GgufWriter writer, MatrixSource source, Calibration? calibration, WorkerPool pool, Action<long> written)
    {
        _cancellation.ThrowIfCancellationRequested();
        string name = TensorNames.ToGguf(source.Name);
        WeightFormat format = _formats.Of(source.Name, source.Columns, source.FindLattice);
        var target = new MatrixTarget(source, format, calibration, _kernels, pool);
        writer.AddTensor(name, format, source.Tensor.Shape, file => target.Write(file, written));
        long bytes = source.Matrices * format.MatrixBytes(source.Rows, source.Columns);
        _report.Add(() => new ConvertedTensor(name, source.Tensor.FormatName, format.Name, 8.0 * bytes / source.Tensor.Count, bytes, target.RelativeError));
    }

    private void AddVector(GgufWriter writer, string name, string from, float[] values)
    {
        writer.AddTensor(name, QuantFormats.F32, [values.Length], file => file.Write(MemoryMarshal.AsBytes<float>(values)));
        long bytes = (long)values.Length * sizeof(float);
        _report.Add(() => new ConvertedTensor(name, from, "f32", 8 * sizeof(float), bytes, 0));
    }

    private static bool IsMatrix(StoredTensor tensor) => tensor.Shape.AsSpan().TrimStart(1).Length > 1;
}
