using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using Gemma4Edge.Model;
using Microsoft.Win32.SafeHandles;

namespace Gemma4Edge.Runtime;

/// <summary>Keys and values of how prompts begin (system text and tools), in files: a new conversation and the first one after a restart need not compute them.</summary>
/// <remarks>
/// One file a beginning, little-endian: magic (8 bytes), what it belongs to (XXH128: the model's files, kernel, formats, program), number of tokens n (int32),
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
    private readonly byte[] _owner;
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
        _owner = XxHash128.Hash(Encoding.UTF8.GetBytes(
            $"{engine.Model.Version}\n{engine.Kernel}\n{engine.Kv}\n{engine.Activations}\n{typeof(PrefixStore).Assembly.GetName().Version}"));
        try
        {
            Directory.CreateDirectory(folder);
            foreach (FileInfo file in new DirectoryInfo(folder).GetFiles($"*{Extension}").OrderByDescending(file => file.LastWriteTimeUtc))
            {
                if (Read(file.FullName) is { } bytes && _kept.Count < most)
                {
                    _kept.AddLast((TokensOf(bytes).ToArray(), file.FullName));
                }
                else
                {
                    TryDelete(file.FullName);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            report($"Beginnings of prompts cannot be kept in {folder}: {e.Message}");
        }
    }

    /// <summary>Makes a cache begin as <paramref name="ids"/> does, where a longer beginning is kept than the cache has itself.</summary>
    public void Load(KvCache cache, ReadOnlySpan<int> ids)
    {
        ArgumentNullException.ThrowIfNull(cache);
        LinkedListNode<(int[] Tokens, string Path)>? best = null;
        for (LinkedListNode<(int[] Tokens, string Path)>? node = _kept.First; node is not null; node = node.Next)
        {
            int length = node.Value.Tokens.Length;
            if (length > (best?.Value.Tokens.Length ?? cache.Length) && length < ids.Length && length <= cache.Capacity && ids.StartsWith(node.Value.Tokens))
            {
                best = node;
            }
        }

        if (best is null)
        {
            return;
        }

        _kept.Remove(best);
        if (Read(best.Value.Path) is { } file && TokensOf(file).SequenceEqual(best.Value.Tokens) && RowsOf(file).Length == cache.SavedBytes(best.Value.Tokens.Length))
        {
            cache.Load(best.Value.Tokens, RowsOf(file));
            _kept.AddFirst(best);
        }
    }

    /// <summary>Whether a beginning is not kept yet.</summary>
    public bool Lacks(ReadOnlySpan<int> prefix)
    {
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
        var file = new byte[start + cache.SavedBytes(tokens.Length) + sizeof(uint)];
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
            TryDelete(next);
        }
    }

    /// <summary>A whole file; null, told and deleted, when it cannot be used.</summary>
    private byte[]? Read(string path)
    {
        byte[] file = [];
        string? problem;
        try
        {
            file = File.ReadAllBytes(path);
            problem = !IsWhole(file) ? "is damaged"
                : !file.AsSpan(8, _owner.Length).SequenceEqual(_owner) ? "belongs to another model, program or setting"
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
        TryDelete(path);
        return null;
    }

    private static bool IsWhole(ReadOnlySpan<byte> file) =>
        file.Length >= HeaderBytes + sizeof(uint) && file.StartsWith(s_magic)
        && Crc32.HashToUInt32(file[..^sizeof(uint)]) == BinaryPrimitives.ReadUInt32LittleEndian(file[^sizeof(uint)..])
        && BinaryPrimitives.ReadInt32LittleEndian(file[24..]) is var count && count > 0 && count <= (file.Length - HeaderBytes) / sizeof(int);

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // it is looked at again at the next start
        }
    }

    private static int CountOf(byte[] file) => BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(24));

    private static ReadOnlySpan<int> TokensOf(byte[] file) => MemoryMarshal.Cast<byte, int>(file.AsSpan(HeaderBytes, CountOf(file) * sizeof(int)));

    private static ReadOnlySpan<byte> RowsOf(byte[] file) => file.AsSpan((HeaderBytes + (CountOf(file) * sizeof(int)))..^sizeof(uint));
}
