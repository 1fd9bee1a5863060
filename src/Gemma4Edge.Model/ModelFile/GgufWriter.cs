using System.Text;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Writes a GGUF file, version 3: first all keys and tensors are declared, then <see cref="Write"/> streams the data.</summary>
/// <remarks>The layout stands at <see cref="GgufFile"/>. Not thread-safe.</remarks>
internal sealed class GgufWriter
{
    /// <summary>Tensors start on a page of any kernel we run on (the Pi 5's has 16 KiB), so that advice for one does not touch another.</summary>
    public const int PageAlignment = 16_384;

    private const uint Version = 3;

    private readonly int _alignment;
    private readonly List<Action<BinaryWriter>> _keys = [];
    private readonly List<Entry> _tensors = [];

    /// <summary>An empty file whose tensors start at multiples of <paramref name="alignment"/>, a power of two.</summary>
    public GgufWriter(int alignment = PageAlignment)
    {
        _alignment = alignment;
        Add("general.alignment", (uint)alignment);
    }

    /// <summary>Adds a text.</summary>
    public void Add(string key, string value) => AddKey(key, GgufType.String, writer => WriteText(writer, value));

    /// <summary>Adds an integer.</summary>
    public void Add(string key, uint value) => AddKey(key, GgufType.UInt32, writer => writer.Write(value));

    /// <summary>Adds a number.</summary>
    public void Add(string key, float value) => AddKey(key, GgufType.Float32, writer => writer.Write(value));

    /// <summary>Adds a boolean.</summary>
    public void Add(string key, bool value) => AddKey(key, GgufType.Bool, writer => writer.Write(value));

    /// <summary>Adds integers.</summary>
    public void Add(string key, IReadOnlyCollection<int> values) => AddArray(key, GgufType.Int32, values, (writer, value) => writer.Write(value));

    /// <summary>Adds numbers.</summary>
    public void Add(string key, IReadOnlyCollection<float> values) => AddArray(key, GgufType.Float32, values, (writer, value) => writer.Write(value));

    /// <summary>Adds booleans.</summary>
    public void Add(string key, IReadOnlyCollection<bool> values) => AddArray(key, GgufType.Bool, values, (writer, value) => writer.Write(value));

    /// <summary>Adds texts.</summary>
    public void Add(string key, IReadOnlyCollection<string> values) => AddArray(key, GgufType.String, values, WriteText);

    /// <summary>Adds a value of any type.</summary>
    /// <param name="key">The key.</param>
    /// <param name="type">Its type number.</param>
    /// <param name="writeValue">Writes the value as the file has it.</param>
    public void AddKey(string key, GgufType type, Action<BinaryWriter> writeValue) => _keys.Add(writer =>
    {
        WriteText(writer, key);
        writer.Write((uint)type);
        writeValue(writer);
    });

    /// <summary>Declares a tensor.</summary>
    /// <param name="name">Its name in the file.</param>
    /// <param name="format">How its weights are stored.</param>
    /// <param name="shape">Dimensions, outermost first; the last is a whole number of blocks.</param>
    /// <param name="writeData">Writes exactly the tensor's bytes when <see cref="Write"/> gets to it.</param>
    public void AddTensor(string name, QuantFormat format, int[] shape, Action<Stream> writeData)
    {
        long bytes = shape[..^1].Aggregate(1L, (rows, size) => rows * size) * format.RowBytes(shape[^1]);
        long offset = _tensors.Count == 0 ? 0 : Aligned(_tensors[^1].Offset + _tensors[^1].Bytes);
        _tensors.Add(new Entry(name, format, shape, offset, bytes, writeData));
    }

    /// <summary>Writes the file: whole on the disk under a temporary name, then renamed, so that <paramref name="path"/> never holds a part.</summary>
    /// <exception cref="IOException">The file cannot be written; nothing is left behind.</exception>
    /// <exception cref="InvalidOperationException">A tensor's data had another length than declared.</exception>
    public void Write(string path)
    {
        string unfinished = $"{path}.{Environment.ProcessId}.partial";
        try
        {
            using (var file = new FileStream(unfinished, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0))
            {
                WriteHeader(file);
                long dataStart = file.Position;
                foreach (Entry tensor in _tensors)
                {
                    Pad(file, dataStart + tensor.Offset);
                    tensor.WriteData(file);
                    if (file.Position != dataStart + tensor.Offset + tensor.Bytes)
                    {
                        throw new InvalidOperationException($"The data of '{tensor.Name}' has {file.Position - dataStart - tensor.Offset} bytes; declared {tensor.Bytes}.");
                    }
                }

                file.Flush(flushToDisk: true);
            }

            File.Move(unfinished, path, overwrite: true);
        }
        catch
        {
            File.Delete(unfinished);
            throw;
        }
    }

    private void WriteHeader(FileStream file)
    {
        using var header = new MemoryStream();
        using var writer = new BinaryWriter(header);
        writer.Write("GGUF"u8);
        writer.Write(Version);
        writer.Write((ulong)_tensors.Count);
        writer.Write((ulong)_keys.Count);
        _keys.ForEach(writeKey => writeKey(writer));
        foreach (Entry tensor in _tensors)
        {
            WriteText(writer, tensor.Name);
            writer.Write((uint)tensor.Shape.Length);
            foreach (int size in tensor.Shape.Reverse())
            {
                writer.Write((ulong)size);
            }

            writer.Write((uint)tensor.Format.GgmlType);
            writer.Write((ulong)tensor.Offset);
        }

        file.Write(header.GetBuffer().AsSpan(0, (int)header.Length));
        Pad(file, Aligned(file.Position));
    }

    private static void Pad(FileStream file, long position) => file.Write(new byte[position - file.Position]);

    private long Aligned(long position) => (position + _alignment - 1) / _alignment * _alignment;

    private void AddArray<T>(string key, GgufType element, IReadOnlyCollection<T> values, Action<BinaryWriter, T> writeElement) => AddKey(key, GgufType.Array, writer =>
    {
        writer.Write((uint)element);
        writer.Write((ulong)values.Count);
        foreach (T value in values)
        {
            writeElement(writer, value);
        }
    });

    private static void WriteText(BinaryWriter writer, string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)utf8.Length);
        writer.Write(utf8);
    }

    private sealed record Entry(string Name, QuantFormat Format, int[] Shape, long Offset, long Bytes, Action<Stream> WriteData);
}
