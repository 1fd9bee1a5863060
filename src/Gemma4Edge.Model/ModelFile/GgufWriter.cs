using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Writes a GGUF file, version 3: first all keys and tensors are declared, then <see cref="Write"/> streams the data.</summary>
/// <remarks>
/// The layout stands at <see cref="GgufFile"/>, what is ours in it at <see cref="TurboQuantKeys"/>. Not thread-safe.
/// Checksums are known when the data is written, so the header is written twice, the second time with them.
/// </remarks>
internal sealed unsafe partial class GgufWriter
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

    /// <summary>Adds texts as they are packed.</summary>
    public void Add(string key, PackedStrings values) => AddKey(key, GgufType.Array, writer =>
    {
        writer.Write((uint)GgufType.String);
        writer.Write((ulong)values.Count);
        for (int i = 0; i < values.Count; i++)
        {
            writer.Write((ulong)values[i].Length);
            writer.Write(values[i]);
        }
    });

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
    /// <param name="diagonal">Name of the tensor with the factors of its columns; null = none. TurboQuant only.</param>
    public void AddTensor(string name, WeightFormat format, int[] shape, Action<Stream> writeData, string? diagonal = null)
    {
        int rows = shape.Length == 1 ? 1 : shape[^2];
        long bytes = shape.SkipLast(2).Aggregate(1L, (matrices, size) => matrices * size) * format.MatrixBytes(rows, shape[^1]);
        if (format is TurboQuantDescriptor descriptor)
        {
            Add(TurboQuantKeys.Format(name), TurboQuantKeys.Describe(descriptor, shape, diagonal));
        }

        long offset = _tensors.Count == 0 ? 0 : Aligned(_tensors[^1].Offset + _tensors[^1].Bytes);
        _tensors.Add(new Entry(name, format, shape, offset, bytes, writeData));
    }

    /// <summary>Writes the file: whole on the disk under a temporary name, then renamed, so that <paramref name="path"/> never holds a part.</summary>
    /// <exception cref="IOException">The file cannot be written, or the disk has no room for it (HResult ENOSPC); nothing is left behind.</exception>
    /// <exception cref="InvalidOperationException">A tensor's data had another length than declared.</exception>
    public void Write(string path)
    {
        CheckTarget(path);
        string unfinished = $"{path}.partial"; // one name: what a killed run left behind, the next one replaces
        var file = new FileStream(unfinished, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        try
        {
            using (file)
            {
                var checksums = new uint[_tensors.Count];
                WriteHeader(file, checksums);
                long dataStart = file.Position;
                CheckSpace(path, dataStart + (_tensors.Count == 0 ? 0 : _tensors[^1].Offset + _tensors[^1].Bytes));
                for (int i = 0; i < checksums.Length; i++)
                {
                    Pad(file, dataStart + _tensors[i].Offset);
                    checksums[i] = WriteTensor(file, _tensors[i]);
                }

                file.Position = 0;
                WriteHeader(file, checksums);
                file.Flush(flushToDisk: true);
            }

            File.Move(unfinished, path, overwrite: true);
            DurableFolder.Flush(Path.GetDirectoryName(Path.GetFullPath(path))!);
        }
        catch
        {
            File.Delete(unfinished);
            throw;
        }
    }

    /// <summary>Refuses a place where no file can be made, or where something stands that is none: a rename would replace even a device.</summary>
    /// <exception cref="IOException">Says what stands there.</exception>
    internal static void CheckTarget(string path)
    {
        if (path.Length == 0)
        {
            throw new IOException("The file to make has no name.");
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? path;
        if (Directory.Exists(path) || !Directory.Exists(folder))
        {
            throw new IOException(Directory.Exists(path) ? $"{path} is a folder: name the file to make." : $"{path} can't be made: there is no folder {folder}.");
        }

        const int CurrentFolder = -100, TypeMask = 1, StatusBytes = 256, ModeOffset = 28, TypeBits = 0xF000, RegularFile = 0x8000; // statx: the same on every CPU
        byte* status = stackalloc byte[StatusBytes];
        if (Status(CurrentFolder, path, 0, TypeMask, status) == 0 && (*(ushort*)(status + ModeOffset) & TypeBits) != RegularFile)
        {
            throw new IOException($"{path} is no regular file and is not replaced: name another file to make.");
        }
    }

    private static void CheckSpace(string path, long needed)
    {
        const int NoSpaceLeft = 28; // ENOSPC
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var disk = new DriveInfo(folder);
        long free = disk.AvailableFreeSpace;
        if (needed > free && disk.TotalSize > 0) // 0 = a file system that does not tell
        {
            throw new IOException($"{path} needs {ByteSize.Text(needed)}, but {folder} has {ByteSize.Text(free)} left", NoSpaceLeft);
        }
    }

    private static uint WriteTensor(FileStream file, Entry tensor)
    {
        long start = file.Position;
        using var data = new ChecksumStream(file);
        tensor.WriteData(data);
        return file.Position - start == tensor.Bytes
            ? data.Checksum
            : throw new InvalidOperationException($"The data of '{tensor.Name}' has {file.Position - start} bytes; declared {tensor.Bytes}.");
    }

    private void WriteHeader(FileStream file, uint[] checksums)
    {
        using var header = new MemoryStream();
        using var writer = new BinaryWriter(header);
        writer.Write("GGUF"u8);
        writer.Write(Version);
        writer.Write((ulong)_tensors.Count);
        writer.Write((ulong)_keys.Count + 2);
        _keys.ForEach(writeKey => writeKey(writer));
        WriteText(writer, TurboQuantKeys.TensorChecksums);
        writer.Write((uint)GgufType.Array);
        writer.Write((uint)GgufType.UInt32);
        writer.Write((ulong)checksums.Length);
        writer.Write(MemoryMarshal.AsBytes<uint>(checksums));
        WriteText(writer, TurboQuantKeys.HeaderChecksum);
        writer.Write((uint)GgufType.UInt32);
        int checksumAt = (int)header.Position;
        writer.Write(0u);
        foreach (Entry tensor in _tensors)
        {
            bool ours = tensor.Format is TurboQuantDescriptor;
            WriteText(writer, tensor.Name);
            int[] shape = ours ? [checked((int)tensor.Bytes)] : tensor.Shape;
            writer.Write((uint)shape.Length);
            foreach (int size in shape.Reverse())
            {
                writer.Write((ulong)size);
            }

            writer.Write(ours ? TurboQuantKeys.BytesType : (uint)((QuantFormat)tensor.Format).GgmlType);
            writer.Write((ulong)tensor.Offset);
        }

        Span<byte> bytes = header.GetBuffer().AsSpan(0, (int)header.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[checksumAt..], Crc32.HashToUInt32(bytes));
        file.Write(bytes);
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

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Status(int folder, string path, int flags, uint mask, byte* status);

    private sealed record Entry(string Name, WeightFormat Format, int[] Shape, long Offset, long Bytes, Action<Stream> WriteData);

    /// <summary>Passes bytes on and sums them up.</summary>
    private sealed class ChecksumStream(FileStream file) : Stream
    {
        private readonly Crc32 _crc = new();

        public uint Checksum => _crc.GetCurrentHashAsUInt32();

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            _crc.Append(buffer);
            file.Write(buffer);
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush() => file.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
