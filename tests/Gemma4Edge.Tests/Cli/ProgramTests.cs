using System.Diagnostics;
using Gemma4Edge.Cli;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Tests.Model;

namespace Gemma4Edge.Tests.Cli;

/// <summary>The built program as a process of its own: what its caller sees of damaged files, and of being killed.</summary>
public sealed class ProgramTests
{
    [Fact]
    public async Task DamagedFiles_EndWithTheirCode()
    {
        using var folder = new TemporaryFolder();
        ModelConverterTests.Convert(TestData.Path("oracle/tiny-a-f32.gguf"), folder["whole.gguf"], "tq4");
        var image = new TurboQuantImage(folder["whole.gguf"]);
        (string Name, int Offset, int Bytes) codes = image.Tensors.First(tensor => tensor.Name == "blk.0.ffn_up.weight");
        await AssertEnds(image.Bytes, ExitCode.Done, ExitCode.Done);
        await AssertEnds(Flipped(100), ExitCode.BadModelFile, ExitCode.BadModelFile, "damaged.gguf");
        await AssertEnds(image.Bytes[..image.HeaderEnd], ExitCode.BadModelFile, ExitCode.BadModelFile, "leaves the file");
        await AssertEnds(image.WithDescriptor(0, image.Descriptors[0].Text.Replace("bits=4", "bits=5", StringComparison.Ordinal)), ExitCode.BadModelFile, ExitCode.BadModelFile, "bits 5");
        await AssertEnds(Flipped(codes.Offset), ExitCode.Done, ExitCode.BadModelFile, $"the tensor '{codes.Name}'");
        await AssertEnds(Flipped(codes.Offset - 1), ExitCode.Done, ExitCode.BadModelFile, $"the padding before '{codes.Name}'");

        async Task AssertEnds(byte[] bytes, int opened, int verified, string said = "")
        {
            File.WriteAllBytes(folder["damaged.gguf"], bytes);
            Assert.Equal(opened, (await RunAsync("inspect", folder["damaged.gguf"])).Code);
            (int code, string error) = await RunAsync("inspect", folder["damaged.gguf"], "--verify");
            Assert.Equal(verified, code);
            Assert.Contains(said, error, StringComparison.Ordinal);
            Assert.Single(error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        }

        byte[] Flipped(int at)
        {
            byte[] copy = [.. image.Bytes];
            copy[at] ^= 1;
            return copy;
        }
    }

    /// <summary>The short form of tests/soak/convert-kill.sh: killed when the unfinished file appears, when it is half there, and when its last byte is.</summary>
    [Fact]
    public async Task KilledConvert_LeavesTheOldFile_AndTheNextOneClearsUp()
    {
        using var folder = new TemporaryFolder();
        string target = folder["m.gguf"], unfinished = folder["m.gguf.partial"];
        ModelConverterTests.Convert(TestData.DemoModel, target, "q8_0");
        byte[] whole = File.ReadAllBytes(target);
        foreach (double share in (double[])[0, 0.5, 1])
        {
            using Process convert = Start("convert", TestData.DemoModel, target, "--weights", "q8_0");
            while (!convert.HasExited && !(new FileInfo(unfinished) is { Exists: true } file && file.Length >= share * whole.Length))
            {
                await Task.Delay(1, TestContext.Current.CancellationToken);
            }

            convert.Kill();
            await convert.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal(whole, File.ReadAllBytes(target));
        }

        Assert.Equal(ExitCode.Done, (await RunAsync("convert", TestData.DemoModel, target, "--weights", "q8_0")).Code);
        Assert.Equal(whole, File.ReadAllBytes(target));
        Assert.Equal([target], Directory.GetFiles(folder.Path));
    }

    private static Process Start(params string[] arguments) =>
        Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "gemma4edge"), arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;

    private static async Task<(int Code, string Error)> RunAsync(params string[] arguments)
    {
        using Process program = Start(arguments);
        Task<string> output = program.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        string error = await program.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await output;
        await program.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (program.ExitCode, error);
    }
}
