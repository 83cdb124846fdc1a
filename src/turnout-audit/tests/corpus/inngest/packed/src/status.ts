export const page = async (id: string) => await fetch(`https://app.inngest.com/run/${id}`);
export const help = "https://www.inngest.com/docs";
