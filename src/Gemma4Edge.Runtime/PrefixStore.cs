using System.Buffers.Binary;
using System.IO.Hashing;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using Gemma4Edge.Model;
using Microsoft.Win32.SafeHandles;

namespace Gemma4Edge.Runtime;

/// <summary>Keys and values of how prompts begin (system text and tools), in files: a new conversation and the first one after a restart need not compute them.</summary>
/// <remarks>
/// One file a beginning, little-endian: magic (8 bytes), what it belongs to (XXH128: the model, kernel, formats, program), number of tokens n (int32),
/// n token ids (int32 each), <see cref="KvCache.Save"/>, CRC-32 of all before. A file is not flushed: what a power cut leaves of it fails its checksum.
/// One that is damaged, or of another model or program, is deleted and told, never used. The least recently used goes first.
/// <para>One thread, the engine's.</para>
/// </remarks>
public sealed class PrefixStore
{
    private const string Extension = ".prefix";
    private const int HeaderBytes = 8 + 16 + sizeof(int);
    private static readonly byte[] s_magic = "G4EPFX01"u8.ToArray();
    private readonly string _folder;
    private readonly int _most;
    private readonly Action<string> _report;
    private readonly byte[] _owner = Guid.NewGuid().ToByteArray(); // nobody's
    private readonly long _mostBytes;
    private readonly LinkedList<(int[] Tokens, string Path)> _kept = new(); // most recently used first
    private (int[] Tokens, byte[] File)? _taken;

    /// <summary>Opens a folder, made where there is none, and looks at what it holds.</summary>
    /// <param name="folder">Only this store writes there.</param>
    /// <param name="most">Most beginnings that are kept, at least 1.</param>
    /// <param name="engine">Whose keys and values they are.</param>
    /// <param name="report">Hears of files that cannot be used or written.</param>
    public PrefixStore(string folder, int most, InferenceEngine engine, Action<string> report)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(most);
        ArgumentNullException.ThrowIfNull(engine);
        ArgumentNullException.ThrowIfNull(report);
        (_folder, _most, _report) = (folder, most, report);
        _mostBytes = BytesOf(engine.NewCache(), engine.Context);
        string program = typeof(PrefixStore).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
        try
        {
            _owner = XxHash128.Hash([.. engine.Model.Fingerprint(), .. Encoding.UTF8.GetBytes($"{engine.Kernel}\n{engine.Kv}\n{engine.Activations}\n{program}")]);
            Directory.CreateDirectory(folder);
            foreach (FileInfo file in new DirectoryInfo(folder).GetFiles($"*{Extension}").OrderByDescending(file => file.LastWriteTimeUtc))
            {
                if (Read(file.FullName) is { } bytes && _kept.Count < most)
                {
                    _kept.AddLast((TokensOf(bytes).ToArray(), file.FullName));
                }
                else
                {
                    Try(file.Delete);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            report($"Prefixes of prompts cannot be kept in {folder}: {e.Message}");
        }
    }

    /// <summary>Makes a cache begin as <paramref name="ids"/> does, where a longer beginning is kept than the cache has itself.</summary>
    public void Load(KvCache cache, ReadOnlySpan<int> ids)
    {
        ArgumentNullException.ThrowIfNull(cache);
        int most = Math.Min(ids.Length - 1, cache.Capacity), longest = cache.Length;
        LinkedListNode<(int[] Tokens, string Path)>? best = null;
        for (LinkedListNode<(int[] Tokens, string Path)>? node = _kept.First; node is not null; node = node.Next)
        {
            if (node.Value.Tokens.Length > longest && node.Value.Tokens.Length <= most && ids.StartsWith(node.Value.Tokens))
            {
                (best, longest) = (node, node.Value.Tokens.Length);
            }
        }

        if (_taken is { } taken && taken.Tokens.Length > longest && taken.Tokens.Length <= most && ids.StartsWith(taken.Tokens))
        {
            cache.Load(taken.Tokens, RowsOf(taken.File));
        }
        else if (best is not null)
        {
            _kept.Remove(best);
            if (Read(best.Value.Path, cache, best.Value.Tokens) is { } file)
            {
                cache.Load(best.Value.Tokens, RowsOf(file));
                _kept.AddFirst(best);
                Try(() => File.SetLastWriteTimeUtc(best.Value.Path, DateTime.UtcNow)); // the order of use after a restart
            }
        }
    }

    /// <summary>Whether a beginning is not kept yet.</summary>
    public bool Lacks(ReadOnlySpan<int> prefix)
    {
        if (_taken is { } taken && prefix.SequenceEqual(taken.Tokens))
        {
            return false;
        }

        foreach ((int[] tokens, _) in _kept)
        {
            if (prefix.SequenceEqual(tokens))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Takes a copy of the sequence in <paramref name="cache"/>; <see cref="Write"/> writes it.</summary>
    public void Take(KvCache cache)
    {
        ArgumentNullException.ThrowIfNull(cache);
        int[] tokens = cache.Tokens.ToArray();
        int start = HeaderBytes + (tokens.Length * sizeof(int));
        var file = new byte[BytesOf(cache, tokens.Length)];
        s_magic.CopyTo(file, 0);
        _owner.CopyTo(file, 8);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(24), tokens.Length);
        MemoryMarshal.AsBytes(tokens.AsSpan()).CopyTo(file.AsSpan(HeaderBytes));
        cache.Save(file.AsSpan(start..^sizeof(uint)));
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(^sizeof(uint)..), Crc32.HashToUInt32(file.AsSpan(..^sizeof(uint))));
        _taken = (tokens, file);
    }

    /// <summary>Writes what was taken, if anything was. For a moment in which nobody waits.</summary>
    public void Write()
    {
        if (_taken is not { } taken)
        {
            return;
        }

        _taken = null;
        string path = Path.Combine(_folder, Convert.ToHexStringLower(XxHash128.Hash(taken.File.AsSpan(..^sizeof(uint)))) + Extension);
        string next = Path.Combine(_folder, "next.new"); // always this one: what a kill leaves is overwritten
        try
        {
            while (_kept.Count >= _most)
            {
                File.Delete(_kept.Last!.Value.Path);
                _kept.RemoveLast();
            }

            using (SafeFileHandle file = File.OpenHandle(next, FileMode.Create, FileAccess.Write))
            {
                if (!OperatingSystem.IsWindows())
                {
                    File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite); // a system text may be private
                }

                RandomAccess.Write(file, taken.File, 0);
            }

            File.Move(next, path, overwrite: true);
            _kept.AddFirst((taken.Tokens, path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _report($"{path} cannot be written: {e.Message}");
            Try(() => File.Delete(next));
        }
    }

    /// <summary>A whole file, of <paramref name="tokens"/> and for <paramref name="cache"/> where they are given; null, told and deleted, when it cannot be used.</summary>
    private byte[]? Read(string path, KvCache? cache = null, int[]? tokens = null)
    {
        byte[] file = [];
        string? problem;
        try
        {
            file = new FileInfo(path).Length <= _mostBytes ? File.ReadAllBytes(path) : [];
            problem = !IsWhole(file) ? "is damaged"
                : !file.AsSpan(8, _owner.Length).SequenceEqual(_owner) ? "belongs to another model, program or setting"
                : cache is not null && !(TokensOf(file).SequenceEqual(tokens) && file.Length == BytesOf(cache, CountOf(file))) ? "is another one"
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            problem = $"cannot be read ({e.Message})";
        }

        if (problem is null)
        {
            return file;
        }

        _report($"{path} {problem}: it is deleted, and computed again when it is needed");
        Try(() => File.Delete(path));
        return null;
    }

    private static bool IsWhole(ReadOnlySpan<byte> file) =>
        file.Length >= HeaderBytes + sizeof(uint) && file.StartsWith(s_magic)
        && Crc32.HashToUInt32(file[..^sizeof(uint)]) == BinaryPrimitives.ReadUInt32LittleEndian(file[^sizeof(uint)..])
        && BinaryPrimitives.ReadInt32LittleEndian(file[24..]) is var count && count > 0 && count <= (file.Length - HeaderBytes) / sizeof(int);

    private static void Try(Action step)
    {
        try
        {
            step();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // whatever is left is looked at again at the next start
        }
    }

    private static long BytesOf(KvCache cache, int tokens) => HeaderBytes + ((long)tokens * sizeof(int)) + cache.SavedBytes(tokens) + sizeof(uint);

    private static int CountOf(byte[] file) => BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(24));

    private static ReadOnlySpan<int> TokensOf(byte[] file) => MemoryMarshal.Cast<byte, int>(file.AsSpan(HeaderBytes, CountOf(file) * sizeof(int)));

    private static ReadOnlySpan<byte> RowsOf(byte[] file) => file.AsSpan((HeaderBytes + (CountOf(file) * sizeof(int)))..^sizeof(uint));
}
