using Gemma4Edge.Kernels;
using Gemma4Edge.Model;

namespace Gemma4Edge.Tests.Model;

/// <summary>The network on every format of keys and values: near the exact one, the same however it is fed, cut or grown.</summary>
public sealed class KvCacheFormatTests
{
    private static readonly int[] s_prompt = [.. Enumerable.Range(0, 100).Select(i => (i * 37 + 11) % 512)];
    private static readonly string[] s_models = ["tiny-a-f32", "tiny-b-f32", "tiny-c-f32"];

    public static TheoryData<string> Presets => [.. KvCacheFormat.All.Select(format => format.Preset)];

    /// <summary>
    /// RMS distance of the logits (rms 3) from those of an exact cache. Random weights magnify an error far more than trained ones do.
    /// Layers that rotated their queries with other signs than the donor's would be as far away as chance.
    /// </summary>
    [Theory]
    [InlineData("f16", 0.0001, 0.007)]
    [InlineData("kv8", 0.001, 0.15)]
    [InlineData("k8v4", 0.01, 0.4)]
    [InlineData("k4v4", 0.01, 0.25)] // 100 positions: two thirds of them are ends
    [InlineData("polar4", 0.1, 2)]
    [InlineData("prod4", 0.1, 2.5)]
    public void Logits_StayNearTheExactOnes(string preset, double least, double most)
    {
        foreach (string model in s_models)
        {
            float[] exact = Run(model, KvCacheFormat.F32), actual = Run(model, Format(preset));
            Assert.InRange(Distance(exact, actual), least, most);
        }

        static float[] Run(string model, KvCacheFormat format)
        {
            using TestNetwork network = Open(model, format);
            return network.Run(s_prompt, network.NewCache(), chunk: 16);
        }
    }

    [Theory]
    [MemberData(nameof(Presets))]
    public void Logits_AreTheSame_HoweverThePromptIsCut(string preset)
    {
        foreach (string model in s_models)
        {
            using TestNetwork network = Open(model, Format(preset));
            float[] whole = network.Run(s_prompt, network.NewCache(), chunk: 16);
            foreach (int chunk in (int[])[1, 7])
            {
                Assert.InRange(Distance(whole, network.Run(s_prompt, network.NewCache(), chunk)), 0, Tolerance(preset));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Presets))]
    public void Truncate_GivesTheShorterSequence(string preset)
    {
        foreach (string model in s_models)
        {
            using TestNetwork network = Open(model, Format(preset));
            KvCache cache = network.NewCache();
            network.Prefill(s_prompt, cache);
            Assert.True(cache.TryTruncate(90));
            KvCache fresh = network.NewCache();
            network.Prefill(s_prompt[..90], fresh);
            Assert.InRange(Distance(network.Prefill([9, 8, 7], fresh), network.Prefill([9, 8, 7], cache)), 0, Tolerance(preset));
        }
    }

    /// <summary>Into a cache that held something else before; the sequence is longer than the sliding window of 32.</summary>
    [Theory]
    [MemberData(nameof(Presets))]
    public void Load_GoesOnAsTheSavedOneDoes(string preset)
    {
        foreach (string model in s_models)
        {
            foreach (int length in (int[])[5, 80])
            {
                using TestNetwork network = Open(model, Format(preset));
                KvCache saved = network.NewCache(), loaded = network.NewCache();
                network.Prefill(s_prompt[..length], saved);
                network.Prefill([.. s_prompt.Reverse()], loaded);
                byte[] bytes = new byte[saved.SavedBytes(length)];
                saved.Save(bytes);
                loaded.Load(saved.Tokens, bytes);

                Assert.Equal(s_prompt[..length], loaded.Tokens.ToArray());
                Assert.Equal(network.Run(s_prompt[length..], saved, chunk: 16), network.Run(s_prompt[length..], loaded, chunk: 16));
            }
        }
    }

    [Fact]
    public void Load_KeepsTheWindowOnly_AndKnowsIt()
    {
        using TestNetwork network = Open("tiny-a-f32", KvCacheFormat.F32);
        KvCache saved = network.NewCache(), loaded = network.NewCache();
        network.Prefill(s_prompt[..80], saved);
        byte[] bytes = new byte[saved.SavedBytes(80)];
        saved.Save(bytes);
        loaded.Load(saved.Tokens, bytes);

        Assert.True(saved.TryTruncate(79));
        Assert.False(loaded.TryTruncate(79)); // position 79 − 31 was not saved
        network.Prefill([9, 8, 7], loaded);
        Assert.True(loaded.TryTruncate(80));
        Assert.Equal(80, loaded.Length);
        Assert.Throws<ArgumentException>(() => loaded.Load(s_prompt.AsSpan(0, 80), bytes.AsSpan(1)));
        Assert.Equal(80, loaded.Length);
    }

    [Theory]
    [MemberData(nameof(Presets))]
    public void Decode_AllocatesNothing_OnAnyFormat(string preset)
    {
        using TestNetwork network = Open("tiny-a-f32", Format(preset));
        KvCache cache = network.NewCache();
        network.Prefill(s_prompt, cache);
        int[] token = [5];
        for (int i = 0; i < 3; i++)
        {
            network.Transformer.Forward(token, cache, LogitRows.Last, CancellationToken.None);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        network.Transformer.Forward(token, cache, LogitRows.Last, CancellationToken.None);
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocatedBytes);
    }

    [Theory]
    [MemberData(nameof(Presets))]
    public void Bytes_AreThoseThatWereForetold(string preset)
    {
        using TestNetwork network = Open("tiny-b-f32", Format(preset));
        var cache = new KvCache(network.Config, Format(preset), capacity: 100, maxChunk: 16);
        Assert.Equal(KvCache.BytesOf(network.Config, Format(preset), 100, 16), cache.Bytes);
    }

    /// <summary>An exception for one layer changes that layer only; with exceptions for all of them the preset does not matter.</summary>
    [Fact]
    public void Layers_MayDiffer()
    {
        KvCacheFormat all = Format("prod4").With(["0=f32", "1=f32", "2=f16", "2=f32"]);
        using TestNetwork exact = Open("tiny-a-f32", KvCacheFormat.F32), same = Open("tiny-a-f32", all), mixed = Open("tiny-a-f32", Format("f32").With(["1=kv8"]));
        float[] expected = exact.Prefill(s_prompt, exact.NewCache());
        Assert.Equal(expected, same.Prefill(s_prompt, same.NewCache()));
        Assert.InRange(TestNetwork.MaxDifference(expected, mixed.Prefill(s_prompt, mixed.NewCache())), 1e-5, 1);
        Assert.Equal(KvFormat.Kv8, mixed.NewCache().Keys(1).Format);
        Assert.Equal(KvFormat.F32, mixed.NewCache().Keys(2).Format);
    }

    [Theory]
    [InlineData("f16", "", "f16")]
    [InlineData("k8v4", "", "kv8/k8v4")]
    [InlineData("k4v4", "14=f16 3=k8v4", "kv8/k4v4 3=k8v4 14=f16")]
    public void Text_NamesSlidingAndFull(string preset, string layers, string expected) =>
        Assert.Equal(expected, Format(preset).With(layers.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToString());

    [Theory]
    [InlineData("f16")]
    [InlineData("=f16")]
    [InlineData("1=")]
    [InlineData("1=q8")]
    [InlineData("-1=f16")]
    public void LayerSyntax_IsChecked(string text)
    {
        Assert.False(KvCacheFormat.TryParseLayer(text, out _, out _));
        Assert.Throws<FormatException>(() => KvCacheFormat.F32.With([text]));
    }

    [Fact]
    public void WhatDoesNotFit_SaysWhatToDo()
    {
        using TestNetwork network = Open("tiny-a-f32", KvCacheFormat.F32); // 6 layers, the last 3 share
        Assert.Contains("0 to 2", Error(network.Config, KvCacheFormat.F32.With(["3=f16"])), StringComparison.Ordinal);
        Assert.Contains("heads of 80", Error(network.Config with { GlobalHeadDim = 80 }, Format("kv8")), StringComparison.Ordinal);
        KvCache.Check(network.Config with { GlobalHeadDim = 80 }, Format("f16"));

        static string Error(Gemma4Config config, KvCacheFormat format) =>
            Assert.Throws<KvFormatException>(() => new KvCache(config, format, 10, 1)).Message;
    }

    /// <summary>A float that is rounded otherwise can move a code; then more than the last bits differ, but far less than between formats.</summary>
    private static double Tolerance(string preset) => preset is "f32" or "f16" ? 1e-3 : 0.05;

    /// <summary>RMS of the difference.</summary>
    private static double Distance(float[] expected, float[] actual) =>
        Math.Sqrt(expected.Zip(actual).Average(pair => Math.Pow(pair.First - pair.Second, 2)));

    private static KvCacheFormat Format(string preset) =>
        KvCacheFormat.TryFromName(preset, out KvCacheFormat? format) ? format : throw new ArgumentException(preset);

    private static TestNetwork Open(string model, KvCacheFormat format) => TestNetwork.Open(TestData.Path($"oracle/{model}.gguf"), kv: format);
}
