using System.IO.Hashing;
using System.Text;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>An open model file or folder: the shape of the network and its weights, mapped read-only and used in place.</summary>
/// <remarks>
/// Everything in the file was checked when it was opened; only the values of matrices are taken as they are. Immutable and safe on any
/// thread. Disposing unmaps the file: weights, matrices and ranges that came from it are dead from then on, so dispose last.
/// Replace a model file by rename, never in place: truncating a mapped file ends the process (SIGBUS).
/// </remarks>
public sealed class LoadedModel : IDisposable
{
    private readonly List<MappedFile> _files;
    private readonly StoredTensor? _ple;
    private readonly StoredTensor _head;
    private readonly long _bytesPerToken;

    private LoadedModel(string path, List<MappedFile> files, ModelContents contents)
    {
        _files = files;
        Path = path;
        Contents = contents;
        Name = contents.Name;
        Format = contents.Format;
        Config = contents.Config;
        Generation = contents.Generation;
        ChatTemplateText = contents.ChatTemplate;
        FileBytes = files.Sum(file => file.Length);
        Tensors = [.. contents.Tensors.All.Select(tensor => tensor.ToInfo())];

        var builder = new WeightsBuilder(contents);
        Weights = builder.Build();
        _bytesPerToken = builder.BytesPerToken;
        ParameterCount = builder.ParameterCount;

        _ple = Weights.EmbedTokensPerLayer is null ? null : contents.Tensors.Get("embed_tokens_per_layer.weight");
        _ple?.File.Advise(_ple.Offset, _ple.Bytes, MappingAdvice.Random);
        PleBytes = _ple?.Bytes ?? 0;
        _head = contents.Tensors.Find("lm_head.weight") ?? contents.Tensors.Get("embed_tokens.weight");
        HeadLowerBytes = TwoStageHead.LowerBytes(Weights.LmHead);
        MappedRanges = [.. files.SelectMany(RangesOf)];
    }

    /// <summary>What it was opened by.</summary>
    public string Path { get; }

    /// <summary>What the model calls itself; the name of its file or folder where it has no name.</summary>
    public string Name { get; }

    /// <summary><c>gguf</c> or <c>safetensors</c>.</summary>
    public string Format { get; }

    /// <summary>What the reader found, for the converter.</summary>
    internal ModelContents Contents { get; }

    /// <summary>The shape of the network.</summary>
    public Gemma4Config Config { get; }

    /// <summary>The weights; valid until <see cref="Dispose"/>.</summary>
    public Gemma4Weights Weights { get; }

    /// <summary>How its makers would sample it.</summary>
    public GenerationDefaults Generation { get; }

    /// <summary>The chat template it brings, in Jinja, for display and comparison; null = none.</summary>
    public string? ChatTemplateText { get; }

    /// <summary>The form of the chat template it was made for: models with per-layer embeddings (E2B, E4B) use the small one.</summary>
    public TemplateForm TemplateForm => Config.HiddenSizePerLayerInput > 0 ? TemplateForm.Small : TemplateForm.Big;

    /// <summary>Size of the weight files together.</summary>
    public long FileBytes { get; }

    /// <summary>Every tensor in the files, those the network leaves unread too (dead keys and values, audio, vision).</summary>
    public IReadOnlyList<TensorInfo> Tensors { get; }

    /// <summary><see cref="BytesPerTokenWith"/> the head that <see cref="HeadMode.Auto"/> chooses.</summary>
    public long BytesPerToken => BytesPerTokenWith(HeadMode.Auto);

    /// <summary>Size of the per-layer embedding table, of which only rows are read; 0 = none.</summary>
    public long PleBytes { get; }

    /// <summary>Number of weights the network uses: a tied LM head counts once, unread tensors not at all.</summary>
    public long ParameterCount { get; }

    /// <summary>Size of the lower plane of a nested LM head, of which a two-stage head reads only rows; 0 = none.</summary>
    public long HeadLowerBytes { get; }

    /// <summary>The mapped bytes by purpose, without overlap: <c>ple</c>, <c>head_lower</c> and <c>weights</c> (all the rest).</summary>
    public IReadOnlyList<MappedRange> MappedRanges { get; }

    /// <summary>Opens a GGUF file, or a folder as Hugging Face lays it out.</summary>
    /// <exception cref="ModelFileException">There is none, or it is damaged, or no Gemma 4 text model.</exception>
    public static LoadedModel Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var files = new List<MappedFile>();
        try
        {
            ModelContents contents = Directory.Exists(path) ? HuggingFaceModel.Read(path, files) : ReadGguf(path, files);
            return new LoadedModel(path, files, contents);
        }
        catch
        {
            files.ForEach(file => file.Dispose());
            throw;
        }
    }

    /// <summary>
    /// Weight bytes that decoding one token reads: every matrix once in its format with scales (the LM head is one of them), the used
    /// experts only, norms and scales as floats, one row of each embedding table that is not also the LM head. Of a two-stage head
    /// it is the upper plane and the shortlist, in whole cache lines. Keys and values are not counted.
    /// </summary>
    /// <exception cref="HeadModeException">This head cannot be computed so.</exception>
    public long BytesPerTokenWith(HeadMode mode)
    {
        WeightMatrix head = Weights.LmHead;
        if (!TwoStageHead.IsChosen(mode, head))
        {
            return _bytesPerToken;
        }

        long embeddingRow = head == Weights.EmbedTokens ? head.RowBytes : 0; // no longer one of the rows that are read anyway
        return _bytesPerToken - head.Bytes + TwoStageHead.BytesRead(head) + embeddingRow;
    }

    /// <summary>The tokenizer of a model that need not have weights: a GGUF file, a vocabulary-only GGUF, or a Hugging Face folder.</summary>
    /// <exception cref="ModelFileException">There is none, or it is damaged.</exception>
    public static GemmaTokenizer OpenTokenizer(string path) => TokenizerFile.Open(path);

    /// <summary>This model's tokenizer, read anew at each call; it outlives the model.</summary>
    /// <exception cref="ModelFileException">There is none, it is damaged, or it has more ids than the network has embeddings.</exception>
    public GemmaTokenizer OpenTokenizer()
    {
        GemmaTokenizer tokenizer = Format == "gguf" ? TokenizerFile.OfGguf(_files[0]) : TokenizerFile.OfFolder(Path);
        return tokenizer.VocabSize <= Config.VocabSize
            ? tokenizer
            : throw new ModelFileException(Path, 0, $"The tokenizer has {tokenizer.VocabSize} ids, the network {Config.VocabSize} embeddings.", "Use the tokenizer that belongs to the weights.");
    }

    /// <summary>XXH128 (16 bytes) of what tells this model from others of its shape: its metadata, and of every tensor name, format, checksum and the 4 KiB in its middle. Reading all of them would tell more, and take a minute.</summary>
    /// <exception cref="IOException">The folder's config.json is gone.</exception>
    public byte[] Fingerprint()
    {
        const int SampleBytes = 4096;
        var hash = new XxHash128();
        hash.Append(Format == "gguf" ? _files[0].Span(0, (int)Math.Min(int.MaxValue, Contents.Tensors.All.Min(tensor => tensor.Offset))) : File.ReadAllBytes(System.IO.Path.Combine(Path, "config.json")));
        foreach (StoredTensor tensor in Contents.Tensors.All)
        {
            hash.Append(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{tensor.Name} {tensor.ToInfo().Format} {tensor.Bytes} {tensor.Checksum}")));
            long middle = tensor.Bytes / 2;
            hash.Append(tensor.File.Span(tensor.Offset + middle, (int)Math.Min(SampleBytes, tensor.Bytes - middle)));
        }

        return hash.GetHashAndReset();
    }

    /// <summary>Starts to read the per-layer embeddings of tokens that are run next. A cold row otherwise costs several page faults, one after another.</summary>
    /// <param name="tokens">Token ids, each below <see cref="Gemma4Config.VocabSize"/>.</param>
    /// <remarks>One system call a token, nothing allocated, no waiting. Without per-layer embeddings it does nothing.</remarks>
    /// <exception cref="ArgumentOutOfRangeException">A token has no row.</exception>
    public void PrefetchPerLayerRows(ReadOnlySpan<int> tokens)
    {
        if (_ple is null)
        {
            return;
        }

        WeightFormat format = Weights.EmbedTokensPerLayer!.Format;
        long rowBytes = Weights.EmbedTokensPerLayer.RowBytes;
        foreach (int token in tokens)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)token, (uint)Config.VocabSize);
            int firstRow = token / format.RowStep * format.RowStep; // rows that are stored together come together
            _ple.File.Advise(_ple.Offset + (firstRow * rowBytes), format.RowStep * rowBytes, MappingAdvice.WillNeed);
        }
    }

    /// <summary>Tells the kernel that a two-stage head will read rows of the lower plane here and there: no read-ahead.</summary>
    /// <remarks>With read-ahead all of the 101 MB of an E2B of random weights were in memory after 35 tokens, without it 61 MB, from a cold cache.</remarks>
    public void ExpectHeadRows() => _head.File.Advise(HeadLowerOffset, HeadLowerBytes, MappingAdvice.Random);

    /// <summary>Gives back the mapping of the lower plane; its pages stay in the page cache as long as there is room.</summary>
    /// <remarks>A touched row brings up to 64 KiB of cached neighbours with it: after a few tokens all 101 MB of an E2B would count as this process's.</remarks>
    public void ReleaseHeadRows() => _head.File.Advise(HeadLowerOffset, HeadLowerBytes, MappingAdvice.DontNeed);

    /// <summary>Whether the file has checksums for <see cref="Verify"/>.</summary>
    public bool HasChecksums => Contents.Tensors.All.TrueForAll(tensor => tensor.Checksum is not null);

    /// <summary>Reads every tensor and holds it against its checksum; what lies between tensors must be zero.</summary>
    /// <param name="progress">Gets the bytes read and those there are, on the calling thread; null = nobody.</param>
    /// <param name="cancellation">Looked at every few megabytes.</param>
    /// <returns>What is not as it was written: <c>the tensor 'NAME'</c>, <c>the padding before 'NAME'</c>. Only of files that have checksums.</returns>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public IReadOnlyList<string> Verify(Action<long, long>? progress, CancellationToken cancellation)
    {
        const int PieceBytes = 8 << 20;
        List<string> damaged = [];
        long total = Contents.Tensors.All.Sum(tensor => tensor.Bytes), done = 0;
        long end = Contents.Tensors.All.Min(tensor => tensor.Offset);
        foreach (StoredTensor tensor in Contents.Tensors.All.Where(tensor => tensor.Checksum is not null).OrderBy(tensor => tensor.Offset))
        {
            AddIfNotZero(tensor.File, tensor.Offset, $"the padding before '{tensor.Name}'");
            end = Math.Max(end, tensor.Offset + tensor.Bytes);
            var crc = new Crc32();
            for (long at = 0; at < tensor.Bytes; at += PieceBytes)
            {
                cancellation.ThrowIfCancellationRequested();
                int length = (int)Math.Min(PieceBytes, tensor.Bytes - at);
                crc.Append(tensor.File.Span(tensor.Offset + at, length));
                done += length;
                progress?.Invoke(done, total);
            }

            if (crc.GetCurrentHashAsUInt32() != tensor.Checksum)
            {
                damaged.Add($"the tensor '{tensor.Name}'");
            }
        }

        if (HasChecksums)
        {
            AddIfNotZero(_files[0], _files[0].Length, "what follows the last tensor");
        }

        return damaged;

        void AddIfNotZero(MappedFile file, long next, string what)
        {
            for (; end < next; end = Math.Min(next, end + PieceBytes))
            {
                if (file.Span(end, (int)Math.Min(PieceBytes, next - end)).ContainsAnyExcept((byte)0))
                {
                    damaged.Add(what);
                    return;
                }
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _files.ForEach(file => file.Dispose());

    private static ModelContents ReadGguf(string path, List<MappedFile> files)
    {
        files.Add(new MappedFile(path));
        return GgufModel.Read(files[0]);
    }

    private long HeadLowerOffset => _head.Offset + _head.Bytes - HeadLowerBytes;

    private unsafe List<MappedRange> RangesOf(MappedFile file)
    {
        List<MappedRange> ranges = [];
        long at = 0;
        (string Name, MappedFile? File, long Start, long Length)[] parts =
            [("ple", _ple?.File, _ple?.Offset ?? 0, PleBytes), ("head_lower", _head.File, HeadLowerOffset, HeadLowerBytes)];
        foreach ((string name, _, long start, long length) in parts.Where(part => part.File == file).OrderBy(part => part.Start))
        {
            Add("weights", start);
            Add(name, start + length);
        }

        Add("weights", file.Length);
        return ranges;

        void Add(string name, long end)
        {
            if (end > at)
            {
                ranges.Add(new MappedRange(name, (nint)file.At(at, end - at), end - at));
                at = end;
            }
        }
    }
}
