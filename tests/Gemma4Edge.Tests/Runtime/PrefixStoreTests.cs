using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Tests.Model;

namespace Gemma4Edge.Tests.Runtime;

/// <summary>Beginnings of prompts that outlive their conversation and the process: exact, or not used.</summary>
public sealed class PrefixStoreTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("prefixes-").FullName;
    private readonly List<string> _reports = [];
    private readonly InferenceEngine _engine = Open();

    public void Dispose()
    {
        _engine.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void ANewConversation_AndOneAfterARestart_BeginWhereTheToolsEnd()
    {
        GenerationResult first = Ask("turn on the kitchen light", Store());
        Assert.Equal(0, first.Usage.Cached);
        Assert.Single(Files);
        GenerationResult other = Ask("lock the front door", _engine.Prefixes!);
        GenerationResult restarted = Ask("lock the front door", Store());
        GenerationResult without = Ask("lock the front door", null);

        Assert.InRange(other.Usage.Cached, first.Usage.Input - 20, first.Usage.Input - 5);
        Assert.Equal(other.Usage.Cached, restarted.Usage.Cached);
        Assert.Equal(0, without.Usage.Cached);
        Assert.Equal("set_lock", Assert.Single(other.ToolCalls).Name);
        Assert.Equal(without.ToolCalls[0].Arguments.GetRawText(), restarted.ToolCalls[0].Arguments.GetRawText());
        Assert.Empty(_reports);
    }

    /// <summary>The same prompt from the start, once with the beginning computed and once with it read: every logit is the same.</summary>
    [Fact]
    public void WhatIsRead_IsWhatWasComputed()
    {
        PrefixStore store = Store();
        int[] prompt = [.. Enumerable.Range(0, 40).Select(i => (i * 31 + 7) % 256)];
        KvCache computed = _engine.NewCache(), read = _engine.NewCache();
        _engine.Transformer.Forward(prompt.AsSpan(0, 30), computed, LogitRows.None, CancellationToken.None);
        store.Take(computed);
        store.Write();
        store.Load(read, prompt);

        Assert.Equal(30, read.Length);
        float[] expected = [.. _engine.Transformer.Forward(prompt.AsSpan(30), computed, LogitRows.Last, CancellationToken.None)];
        Assert.Equal(expected, _engine.Transformer.Forward(prompt.AsSpan(30), read, LogitRows.Last, CancellationToken.None).ToArray());
    }

    [Fact]
    public void OnlyBeginningsThatOthersShare_AreKept()
    {
        PrefixStore store = Store();
        Ask("hello", store, isShared: false);
        Assert.Empty(Files);
        Ask("hello", store, system: null, tools: false); // no system turn: nothing that others would begin with
        Assert.Empty(Files);
    }

    /// <summary>Not in the request that brings it, and not in a later one of that conversation.</summary>
    [Theory, InlineData("system"), InlineData("message"), InlineData("tools")]
    public void WhatASenderBrings_IsNotWritten(string what)
    {
        PrefixStore store = Store();
        _engine.Prefixes = store;
        ChatSession session = _engine.OpenSession();
        PromptRequest own = Request("hello", "Smart home.");
        own = what switch
        {
            "system" => own with { System = "Secret." },
            "message" => own with { Prompt = null, Messages = [new ChatMessage(ChatRole.System, "Secret."), new ChatMessage(ChatRole.User, "hello")] },
            _ => own with { Tools = [DemoTools.All[0]], IsPrefixShared = false },
        };
        session.Generate(own, new RecordingSink(), CancellationToken.None);
        store.Write();
        Assert.Empty(Files);
        session.Generate(Request("thanks", "Smart home."), new RecordingSink(), CancellationToken.None);
        store.Write();
        Assert.Equal(what == "tools" ? 1 : 0, Files.Length); // then tools and system text are the node's again
    }

    [Fact]
    public void TheLeastRecentlyUsed_GoesFirst()
    {
        PrefixStore store = Store(most: 2);
        Ask("hello", store, "One.");
        Ask("hello", store, "Two.");
        Assert.True(Ask("thanks", store, "One.").Usage.Cached > 0);
        Ask("hello", store, "Three.");
        Assert.Equal(2, Files.Length);
        Assert.True(Ask("thanks", store, "One.").Usage.Cached > 0);
        Assert.Equal(0, Ask("thanks", store, "Two.").Usage.Cached);
        Assert.Equal(Files, Directory.GetFiles(_folder));

        store = Store(most: 2);
        Ask("thanks", store, "Three.");
        store = Store(most: 2); // the order outlives the process
        Ask("hello", store, "Four.");
        Assert.True(Ask("thanks", store, "Three.").Usage.Cached > 0);
    }

    /// <summary>Cut anywhere or with one bit turned, before a start or while it runs: computed again, told, never used.</summary>
    [Fact]
    public void ADamagedFile_IsDeletedAndTold()
    {
        Ask("hello", Store());
        string path = Assert.Single(Files);
        byte[] whole = File.ReadAllBytes(path);
        var random = new Random(1);
        int[] places = [0, 7, 8, 23, 24, 25, 27, 28, 40, .. Enumerable.Range(0, 10).Select(_ => random.Next(whole.Length)), whole.Length - 1];
        foreach (int place in places)
        {
            byte[] flipped = [.. whole];
            flipped[place] ^= (byte)(1 << random.Next(8));
            foreach (byte[] damaged in (byte[][])[whole[..place], flipped])
            {
                File.WriteAllBytes(path, damaged);
                _reports.Clear();
                PrefixStore store = Store();
                KvCache cache = _engine.NewCache();
                store.Load(cache, TokensOf(whole));
                Assert.Equal(0, cache.Length);
                Assert.Contains(path, Assert.Single(_reports), StringComparison.Ordinal);
                Assert.Empty(Files);
            }
        }

        PrefixStore running = Ask("hello", Store()) is not null ? _engine.Prefixes! : throw new InvalidOperationException();
        File.WriteAllBytes(path, whole[..^1]);
        Assert.Equal(0, Ask("thanks", running).Usage.Cached);
        Assert.Equal(whole.Length, new FileInfo(Assert.Single(Files)).Length); // and kept anew
    }

    /// <summary>The model's files keep their path, size and time, as when a package brings another training of the same shape.</summary>
    [Theory]
    [InlineData("nothing", true)]
    [InlineData("weights", false)]
    [InlineData("config", false)]
    [InlineData("kernel", false)]
    [InlineData("kv", false)]
    [InlineData("activations", false)]
    public void AnotherModelOrSetting_DoesNotUseIt(string change, bool isUsed)
    {
        using var model = new TemporaryFolder();
        foreach (string file in Directory.GetFiles(TestData.DemoModel, "*.*"))
        {
            File.Copy(file, model[Path.GetFileName(file)]);
        }

        var options = new EngineOptions { Model = model.Path, Context = 800, Threads = 1, Kernel = "scalar" };
        int[] prompt = [.. Enumerable.Range(3, 40)];
        using (InferenceEngine before = InferenceEngine.Open(options))
        {
            KvCache computed = before.NewCache();
            before.Transformer.Forward(prompt.AsSpan(0, 20), computed, LogitRows.None, CancellationToken.None);
            var store = new PrefixStore(_folder, 4, before, _reports.Add);
            store.Take(computed);
            store.Write();
        }

        Change(model["model.safetensors"], change == "weights", bytes =>
        {
            for (int i = bytes.Length / 2; i < bytes.Length; i += 64)
            {
                bytes[i] ^= 0x10;
            }
        });
        Change(model["config.json"], change == "config", bytes => bytes[bytes.IndexOf((byte)'\n')] = (byte)' ');
        options = change switch
        {
            "kernel" => options with { Kernel = null },
            "kv" => options with { Kv = KvCacheFormat.F32 },
            "activations" => options with { Activations = ActivationFormat.Float },
            _ => options,
        };
        using InferenceEngine after = InferenceEngine.Open(options);
        KvCache cache = after.NewCache();
        new PrefixStore(_folder, 4, after, _reports.Add).Load(cache, prompt);
        Assert.Equal(isUsed ? 20 : 0, cache.Length);
        Assert.Equal(isUsed ? 0 : 1, _reports.Count(report => report.Contains("another model", StringComparison.Ordinal)));

        static void Change(string path, bool isWanted, Action<byte[]> change)
        {
            if (isWanted)
            {
                DateTime time = File.GetLastWriteTimeUtc(path);
                byte[] bytes = File.ReadAllBytes(path);
                change(bytes);
                File.WriteAllBytes(path, bytes);
                File.SetLastWriteTimeUtc(path, time);
            }
        }
    }

    [Fact]
    public void AFolderThatCannotBeWritten_IsTold_AndNothingElse()
    {
        File.WriteAllText(Path.Combine(_folder, "file"), "");
        var store = new PrefixStore(Path.Combine(_folder, "file", "prefixes"), 4, _engine, _reports.Add);
        Assert.NotEmpty(Ask("hello", store).Text);
        Assert.Equal(2, _reports.Count); // at the start and at the write
    }

    private static InferenceEngine Open() => InferenceEngine.Open(new EngineOptions { Model = TestData.DemoModel, Context = 800, Threads = 1 });

    private static int[] TokensOf(byte[] file) =>
        [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, int>(file.AsSpan(28, 4 * BitConverter.ToInt32(file, 24))), 1];

    private string[] Files => Directory.GetFiles(_folder, "*.prefix");

    private PrefixStore Store(int most = 4) => new(_folder, most, _engine, _reports.Add);

    /// <summary>Asks in a conversation of its own and writes what is to be kept, as the worker does.</summary>
    private GenerationResult Ask(string prompt, PrefixStore? store, string? system = "Smart home.", bool tools = true, bool isShared = true)
    {
        _engine.Prefixes = store;
        PromptRequest request = Request(prompt, system) with { Tools = tools ? DemoTools.All : [], IsPrefixShared = isShared };
        GenerationResult result = _engine.OpenSession().Generate(request, new RecordingSink(), CancellationToken.None);
        store?.Write();
        return result;
    }

    /// <summary>As the service makes it: the node's own system text and tools.</summary>
    private static PromptRequest Request(string prompt, string? system) => new()
    {
        Id = "a1",
        Prompt = prompt,
        DefaultSystem = system,
        Tools = DemoTools.All,
        IsPrefixShared = true,
        Sampling = SamplingOptions.Greedy,
        MaxTokens = 30,
        ReceivedTimestamp = System.Diagnostics.Stopwatch.GetTimestamp(),
    };
}
